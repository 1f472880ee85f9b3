#include "base/memory.h"

#include <sched.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <string>

#include "base/cgroup.h"
#include "base/error.h"

namespace lathe {
namespace {

// The value behind "Key:" in a /proc file, in bytes; 0 when absent.
uint64_t proc_kib(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  }
  return 0;
}

}  // namespace

MemoryUse memory_use() {
  static std::atomic<uint64_t> peak_anon{0};
  const uint64_t anon = proc_kib("/proc/self/status", "RssAnon:");
  uint64_t seen = peak_anon;
  while (anon > seen && !peak_anon.compare_exchange_weak(seen, anon)) {
  }
  // Not getrusage's ru_maxrss: that also counts what the process had before this program was loaded into it.
  return {.peak_rss_bytes = proc_kib("/proc/self/status", "VmHWM:"), .peak_anon_bytes = std::max(anon, seen)};
}

uint64_t available_memory_bytes() {
  const uint64_t available = proc_kib("/proc/meminfo", "MemAvailable:");
  std::ifstream membership("/proc/self/cgroup");
  std::stringstream text;
  text << membership.rdbuf();
  return std::min(available, cgroup_available_bytes("/sys/fs/cgroup", text.str()).value_or(available));
}

uint64_t available_disk_bytes(const std::filesystem::path& path) {
  std::filesystem::path at = std::filesystem::absolute(path);
  std::error_code error;
  while (!std::filesystem::exists(at, error) && at.has_relative_path()) at = at.parent_path();
  struct statvfs status;
  if (::statvfs(at.c_str(), &status) != 0) fail(ErrorCode::io, "cannot read free space of \"{}\"", at.string());
  return uint64_t(status.f_bavail) * status.f_frsize;
}

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cpus = 1;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "200000 100000" or "max 100000"
  std::string quota;
  uint64_t period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const int allowed = int(std::strtoull(quota.c_str(), nullptr, 10) / period);
    cpus = std::clamp(allowed, 1, cpus);
  }
  return cpus;
}

}  // namespace lathe
