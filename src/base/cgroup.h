// What the control groups of a process let it take.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

namespace lathe {

// The least that the process's own group and those above it leave of their limit of memory, the page cache being theirs
// to give up; nullopt where none has a limit. Both versions of groups. `root`: where they are mounted; `membership`:
// what /proc/self/cgroup says.
std::optional<uint64_t> cgroup_available_bytes(const std::filesystem::path& root, std::string_view membership);

}  // namespace lathe
