#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <string>

namespace lathe {
namespace {

std::optional<uint64_t> read_number(const std::filesystem::path& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // "max" is no number
}

// Pages of files that can go without being written.
uint64_t clean_cache(const std::filesystem::path& group) {
  std::ifstream file(group / "memory.stat");
  std::map<std::string, uint64_t> stat;
  uint64_t value = 0;
  for (std::string key; file >> key >> value;) stat[key] = value;
  const uint64_t held = stat["shmem"] + stat["file_dirty"] + stat["file_writeback"];
  return stat["file"] > held ? stat["file"] - held : 0;
}

// The group's path in "0::/a/b", the line of version 2.
std::string group_of(std::string_view membership) {
  constexpr std::string_view kMark = "0::/";
  for (size_t at = 0; at < membership.size();) {
    const size_t end = std::min(membership.find('\n', at), membership.size());
    const std::string_view line = membership.substr(at, end - at);
    if (line.starts_with(kMark)) return std::string(line.substr(kMark.size()));
    at = end + 1;
  }
  return "";
}

}  // namespace

std::optional<uint64_t> cgroup_available_bytes(const std::filesystem::path& root, std::string_view membership) {
  std::optional<uint64_t> least;
  std::filesystem::path name = group_of(membership);
  while (true) {
    const std::filesystem::path group = name.empty() ? root : root / name;
    if (const auto limit = read_number(group / "memory.max")) {
      const uint64_t current = read_number(group / "memory.current").value_or(0), cache = clean_cache(group);
      const uint64_t used = current > cache ? current - cache : 0;
      const uint64_t left = *limit > used ? *limit - used : 0;
      least = std::min(least.value_or(left), left);
    }
    if (name.empty()) return least;
    name = name.parent_path();
  }
}

}  // namespace lathe
