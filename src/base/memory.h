// What this process uses and what the machine has left.
#pragma once

#include <cstdint>
#include <filesystem>

namespace lathe {

struct MemoryUse {
  uint64_t peak_rss_bytes = 0;   // ru_maxrss, mapped file pages included
  uint64_t peak_anon_bytes = 0;  // largest anonymous RSS seen by calls of this function
};

// Samples the process. Cheap enough for once per phase, not for the step path.
MemoryUse memory_use();

// Memory that can still be taken: MemAvailable, bounded by the cgroup's limit where there is one.
uint64_t available_memory_bytes();
// Free space for ordinary users on the file system that holds `path` (or its nearest existing parent).
uint64_t available_disk_bytes(const std::filesystem::path& path);
// CPUs this process may run on: affinity mask, bounded by the cgroup's quota. At least 1.
int available_cpus();

}  // namespace lathe
