#include "cli/engine_cache.h"

#include <sys/stat.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/build_id.h"

namespace lathe::cli {
namespace {

std::string short_hash(const std::string& text) {
  return sha256_hex(std::as_bytes(std::span(text))).substr(0, 16);
}

// Size and time of a file, which change when it is written.
std::string state_of(const std::filesystem::path& file) {
  struct stat status{};
  ::stat(file.c_str(), &status);  // a file that went away has the state of none
  return fmt::format("|{}|{}.{}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

// What an engine is built with; devices but the first have a place of their own.
std::string wishes_of(const EngineOptions& options) {
  std::string wishes = fmt::format("{}|{}", options.precision, options.kv);
  if (options.accelerator) {
    wishes += fmt::format("|{}|{}", options.accelerator->device().name, options.accelerator->arch());
  }
  return wishes;
}

}  // namespace

std::filesystem::path cache_folder() {
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg) return std::filesystem::path(xdg) / "lathe";
  if (const char* home = std::getenv("HOME"); home && *home) return std::filesystem::path(home) / ".cache" / "lathe";
  return std::filesystem::temp_directory_path() / "lathe";
}

EngineCache::EngineCache(const frontend::Checkpoint& checkpoint, const EngineOptions& options) {
  std::string identity = wishes_of(options);
  std::string state = fmt::format("{}|{}", build_id(), plan::kEngineVersion);
  for (const std::filesystem::path& file : checkpoint.files()) {
    identity += "|" + std::filesystem::absolute(file).lexically_normal().string();
    state += state_of(file);
  }
  for (const auto& [name, bytes] : checkpoint.assets()) state += fmt::format("|{}|{}", name, bytes);
  name_by(checkpoint.path(), identity, state);
}

EngineCache::EngineCache(const plan::EngineFile& engine, const EngineOptions& options) {
  const std::string path = std::filesystem::absolute(engine.path()).lexically_normal();
  name_by(engine.path(), wishes_of(options) + "|" + path,
          fmt::format("{}|{}{}", build_id(), plan::kEngineVersion, state_of(engine.path())));
}

void EngineCache::name_by(const std::filesystem::path& source, const std::string& identity, const std::string& state) {
  const std::string name = std::filesystem::absolute(source / "").lexically_normal().parent_path().stem();
  identity_ = fmt::format("{}-{}-", name, short_hash(identity));
  path_ = cache_folder() / fmt::format("{}{}.lathe", identity_, short_hash(state));
}

std::shared_ptr<const plan::EngineFile> EngineCache::find(bool check_weights, const Output& output) const {
  if (file_kind(path_) != FileKind::file) return nullptr;
  try {
    auto engine = plan::EngineFile::open(path_);
    if (check_weights) engine->check_weights();
    return engine;
  } catch (const Error& error) {
    // The user did not make this file and need not mend it.
    if (error.code() == ErrorCode::resource || error.code() == ErrorCode::internal) throw;
    output.note(fmt::format("the engine in the cache cannot be used and is built again: {}", error.what()));
    return nullptr;
  }
}

void EngineCache::remove_outdated() const {
  std::error_code error;  // whoever cannot clean up can still run
  std::filesystem::directory_iterator entry(path_.parent_path(), error);
  for (; !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename();
    std::error_code ignored;
    if (name.starts_with(identity_) && name.ends_with(".lathe") && name != path_.filename()) {
      std::filesystem::remove(entry->path(), ignored);
    }
  }
}

}  // namespace lathe::cli
