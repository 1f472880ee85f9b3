#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <string>

namespace lathe {
namespace {

// What the two versions call the same things.
struct Version {
  std::string_view mark;    // of the line in /proc/self/cgroup, behind its number
  std::string_view folder;  // of the memory controller below the root
  const char *limit, *usage;
  const char *cache, *held[3];  // in memory.stat: pages of files, and those of them that cannot just go
};
constexpr Version kVersions[] = {
    {"::/", "", "memory.max", "memory.current", "file", {"shmem", "file_dirty", "file_writeback"}},
    {":memory:/",
     "memory",
     "memory.limit_in_bytes",
     "memory.usage_in_bytes",
     "total_cache",
     {"total_shmem", "total_dirty", "total_writeback"}},
};

std::optional<uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // "max" is no number
}

// Bytes of pages of files that can go without being written.
uint64_t clean_cache(const std::filesystem::path& group, const Version& version) {
  std::ifstream file(group / "memory.stat");
  std::map<std::string, uint64_t> stat;
  uint64_t value = 0;
  for (std::string key; file >> key >> value;) stat[key] = value;
  uint64_t held = 0;
  for (const char* key : version.held) held += stat[key];
  return stat[version.cache] > held ? stat[version.cache] - held : 0;
}

// The group's path, "a/b" of "0::/a/b" or "4:memory:/a/b"; nullopt where there is no such line.
std::optional<std::string> group_of(std::string_view membership, const Version& version) {
  for (size_t at = 0; at < membership.size();) {
    const size_t end = std::min(membership.find('\n', at), membership.size());
    std::string_view line = membership.substr(at, end - at);
    line.remove_prefix(std::min(line.find(':'), line.size()));
    if (line.starts_with(version.mark)) return std::string(line.substr(version.mark.size()));
    at = end + 1;
  }
  return std::nullopt;
}

// What the group leaves; nullopt without a limit.
std::optional<uint64_t> left_by(const std::filesystem::path& group, const Version& version) {
  const auto limit = read_number(group / version.limit);
  if (!limit) return std::nullopt;
  const uint64_t current = read_number(group / version.usage).value_or(0), cache = clean_cache(group, version);
  const uint64_t used = current > cache ? current - cache : 0;
  return *limit > used ? *limit - used : 0;
}

}  // namespace

std::optional<uint64_t> cgroup_available_bytes(const std::filesystem::path& root, std::string_view membership) {
  std::optional<uint64_t> least;
  for (const Version& version : kVersions) {
    const auto found = group_of(membership, version);
    if (!found) continue;
    // The group itself and those it is in; in a container the path may be that of the host, which is not there.
    for (std::filesystem::path name = *found;; name = name.parent_path()) {
      const auto left = left_by(root / version.folder / name, version);
      if (left) least = std::min(least.value_or(*left), *left);
      if (name.empty()) break;
    }
  }
  return least;
}

}  // namespace lathe
