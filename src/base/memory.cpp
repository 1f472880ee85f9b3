#include "base/memory.h"

#include <sched.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

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

uint64_t read_number(const char* path, uint64_t otherwise) {
  std::ifstream file(path);
  uint64_t value;
  return file >> value ? value : otherwise;  // "max" is no number
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
  uint64_t available = proc_kib("/proc/meminfo", "MemAvailable:");
  const uint64_t unlimited = std::numeric_limits<uint64_t>::max();
  const uint64_t limit = read_number("/sys/fs/cgroup/memory.max", unlimited);
  if (limit != unlimited) {
    const uint64_t used = read_number("/sys/fs/cgroup/memory.current", 0);
    available = std::min(available, limit > used ? limit - used : 0);
  }
  return available;
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
