#include "plan/engine_file.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/team.h"
#include "plan/engine_header.h"
#include "plan/graph_body.h"
#include "plan/manifest.h"

namespace lathe::plan {
namespace {

// Writes of at least this size start their own way to the disk, so that commit() has little left to wait for.
constexpr size_t kFlushBytes = size_t{1} << 20;
// Names in a message about a damaged chunk.
constexpr size_t kMaxOwners = 64;

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

uint64_t manifest_offset(uint64_t weight_bytes) {
  return align_up(kHeaderBytes + weight_bytes, kSectionAlignment);
}

// One hash for each kHashChunk, on all CPUs. Pages are dropped behind, so that RSS does not follow the file.
std::vector<std::string> hash_chunks(const MappedFile& file, std::span<const std::byte> weights) {
  std::vector<std::string> hashes(ceil_div<uint64_t>(weights.size(), kHashChunk));
  const auto threads = std::min<size_t>(size_t(available_cpus()), std::max<size_t>(hashes.size(), 1));
  Team(int(threads)).for_each(int64_t(hashes.size()), [&](int64_t i) {
    const size_t begin = size_t(i) * kHashChunk;
    const auto chunk = weights.subspan(begin, std::min<size_t>(kHashChunk, weights.size() - begin));
    hashes[size_t(i)] = xxh3_128_hex(chunk);
    file.drop(chunk);
  });
  return hashes;
}

std::span<const std::byte> section_bytes(std::span<const std::byte> file, const Section& section,
                                         std::string_view what) {
  const auto bytes = file.subspan(section.offset, section.bytes);
  if (xxh3_128_hex(bytes) != section.hash) fail(ErrorCode::invalid_input, "{} damaged", what);
  return bytes;
}

void require_own(const Receipt& receipt, std::string_view hash) {
  if (receipt.engine_hash == hash) return;
  fail(ErrorCode::usage, "a receipt of engine {} for engine {}", receipt.engine_hash, hash);
}

// What has bytes in [begin, end) of the weight section, for messages. A chunk holds many small tensors, and
// its hash does not tell which of them is damaged.
std::string owners(const Manifest& manifest, int64_t begin, int64_t end) {
  std::vector<std::string> names;
  const auto add = [&](std::string_view kind, const auto& part) {
    if (part.offset < end && begin < part.offset + part.bytes) {
      names.push_back(fmt::format("{} \"{}\"", kind, part.name));
    }
  };
  for (const Constant& constant : manifest.plan.constants) add("constant", constant);
  std::set<std::string> seen;
  for (const EngineGraph& graph : manifest.graphs) {
    each_constant(*graph.model, [&](const Constant& constant) {
      if (seen.insert(constant.name).second) add("constant", constant);
    });
    for (const StoredSource& source : graph.sources) {
      if (seen.insert(source.name).second) add("constant", source);
    }
  }
  for (const AssetEntry& asset : manifest.assets) add("asset", asset);
  if (names.empty()) return "padding";
  const size_t more = names.size() > kMaxOwners ? names.size() - kMaxOwners : 0;
  names.resize(names.size() - more);
  const std::string text = fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{}{}{}", names.size() > 1 ? "one of " : "", text,
                     more > 0 ? fmt::format(" and {} more", more) : "");
}

}  // namespace

EngineWriter::EngineWriter(const std::filesystem::path& path) : file_(path) {}

int64_t EngineWriter::allocate(int64_t bytes) {
  LATHE_CHECK(bytes >= 0 && manifest_end_ == 0, "{} bytes", bytes);
  const int64_t offset = weight_place(int64_t(weight_end_), bytes);
  weight_end_ = uint64_t(checked_add(offset, bytes, "weight section"));
  return offset;
}

void EngineWriter::write(int64_t offset, std::span<const std::byte> bytes) {
  LATHE_CHECK(offset >= 0 && manifest_end_ == 0 && uint64_t(offset) + bytes.size() <= weight_end_,
              "{} bytes at {} of {}", bytes.size(), offset, weight_end_);
  file_.write_at(kHeaderBytes + uint64_t(offset), bytes);
  if (bytes.size() >= kFlushBytes) file_.flush_behind(kHeaderBytes + uint64_t(offset), bytes.size());
}

AssetEntry EngineWriter::add_asset(std::string name, std::string_view bytes) {
  const int64_t offset = allocate(int64_t(bytes.size()));
  write(offset, as_bytes(bytes));
  return {std::move(name), offset, int64_t(bytes.size())};
}

void EngineWriter::finish(Manifest& manifest) {
  LATHE_CHECK(manifest_end_ == 0, "finished twice");
  const uint64_t offset = manifest_offset(weight_end_);
  file_.write_at(offset, as_bytes(std::string_view("\0", 1)));  // padding and bytes never written become zeros
  manifest.weight_bytes = int64_t(weight_end_);
  {
    const auto mapped = MappedFile::open(file_.temporary_path());
    manifest.weight_hashes = hash_chunks(*mapped, mapped->bytes().subspan(kHeaderBytes, weight_end_));
  }
  check(manifest);
  const std::string bytes = write_manifest(manifest);
  file_.write_at(offset, as_bytes(bytes));
  manifest_hash_ = xxh3_128_hex(as_bytes(bytes));
  manifest_end_ = offset + bytes.size();
  producer_ = manifest.producer;
  version_ = manifest.graphs.empty() ? kLanguageVersion : kEngineVersion;
  file_.write_at(0, as_bytes(header(false)));
}

std::string EngineWriter::header(bool with_receipt) const {
  const uint64_t manifest = manifest_offset(weight_end_);
  Header header;
  header.version = version_;
  header.weight_bytes = weight_end_;
  header.manifest = {manifest, manifest_end_ - manifest, manifest_hash_};
  header.producer = producer_;
  if (with_receipt) {
    header.receipt = {align_up(manifest_end_, kSectionAlignment), receipt_.size(), xxh3_128_hex(as_bytes(receipt_))};
  }
  return write_header(header);
}

const std::filesystem::path& EngineWriter::temporary_path() const {
  return file_.temporary_path();
}

void EngineWriter::set_receipt(const Receipt& receipt) {
  LATHE_CHECK(manifest_end_ > 0, "not finished");
  require_own(receipt, manifest_hash_);
  receipt_ = write_receipt_bytes(receipt);
}

void EngineWriter::commit() {
  LATHE_CHECK(manifest_end_ > 0, "not finished");
  if (!receipt_.empty()) {
    file_.write_at(align_up(manifest_end_, kSectionAlignment), as_bytes(receipt_));
    file_.write_at(0, as_bytes(header(true)));
  }
  file_.commit();
}

std::shared_ptr<const EngineFile> EngineFile::open(const std::filesystem::path& path) {
  return with_context(path.string(), [&] {
    const auto engine = std::make_shared<EngineFile>();
    engine->file_ = MappedFile::open(path);
    const auto bytes = engine->file_->bytes();
    const Header header = read_header(bytes, bytes.size());
    engine->weights_ = bytes.subspan(kHeaderBytes, header.weight_bytes);
    engine->hash_ = header.manifest.hash;
    const auto manifest = section_bytes(bytes, header.manifest, "manifest");
    with_context("manifest", [&] {
      engine->manifest_ = read_manifest(manifest, {engine->weights_, engine->file_});
      const auto said = engine->manifest_.weight_bytes;
      if (said < 0 || uint64_t(said) != header.weight_bytes) {
        fail(ErrorCode::invalid_input, "weight_bytes is {}, the header says {}", said, header.weight_bytes);
      }
      check(engine->manifest_);
    });
    if (header.receipt.bytes > 0) {
      const auto receipt = section_bytes(bytes, header.receipt, "receipt");
      with_context("receipt", [&] { engine->receipt_ = read_receipt_bytes(receipt); });
    }
    return std::shared_ptr<const EngineFile>(engine);
  });
}

std::span<const std::byte> EngineFile::constant(const Constant& constant) const {
  LATHE_CHECK(constant.offset >= 0 && constant.bytes >= 0 && uint64_t(constant.bytes) <= weights_.size() &&
                  uint64_t(constant.offset) <= weights_.size() - uint64_t(constant.bytes),
              "constant \"{}\" is not of this engine", constant.name);
  return weights_.subspan(size_t(constant.offset), size_t(constant.bytes));
}

std::span<const std::byte> EngineFile::find_asset(std::string_view name) const {
  for (const AssetEntry& asset : manifest_.assets) {
    if (asset.name == name) return weights_.subspan(size_t(asset.offset), size_t(asset.bytes));
  }
  return {};
}

void EngineFile::check_weights() const {
  const std::vector<std::string> found = hash_chunks(*file_, weights_);
  const std::vector<std::string>& expected = manifest_.weight_hashes;
  const auto [bad, unused] = std::mismatch(expected.begin(), expected.end(), found.begin(), found.end());
  if (bad == expected.end()) return;
  const auto begin = int64_t(size_t(bad - expected.begin()) * kHashChunk);
  const int64_t end = std::min(begin + int64_t(kHashChunk), manifest_.weight_bytes);
  fail(ErrorCode::verification, "{}: {}: weight bytes [{}, {}) are damaged: expected hash {}, found {}",
       path().string(), owners(manifest_, begin, end), begin, end, *bad, *unused);
}

void require_kind(const EngineFile& engine, bool graphs) {
  if (engine.manifest().graphs.empty() != graphs) return;
  fail(ErrorCode::unsupported, "\"{}\" is an engine of {}", engine.path().string(),
       graphs ? "a language model: it runs on text or token ids" : "graphs: they run on tensors (--input NAME=FILE)");
}

bool is_graph_engine(const std::filesystem::path& path) {
  constexpr uint32_t kGraphs = 2;  // the format that brought them
  if (!is_engine_file(path)) return false;
  const std::string head = read_file_head(path, kMagic.size() + sizeof(uint32_t));
  uint32_t version = 0;
  if (head.size() == kMagic.size() + sizeof version) std::memcpy(&version, head.data() + kMagic.size(), sizeof version);
  return version == kGraphs;
}

bool is_engine_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;  // a model folder, or nothing there
  const auto file = MappedFile::open(path);
  return file->bytes().size() >= kMagic.size() &&
         std::equal(kMagic.begin(), kMagic.end(), file->bytes().begin(),
                    [](char expected, std::byte found) { return std::byte(expected) == found; });
}

}  // namespace lathe::plan
