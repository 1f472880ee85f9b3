// lathe doctor: what this machine can do.
#include <gnu/libc-version.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "backend/device.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/team.h"
#include "cli/build_id.h"
#include "cli/device.h"
#include "cli/engine_cache.h"
#include "cli/verb.h"
#include "plan/engine_file.h"

namespace lathe::cli {
namespace {

// Something that a machine may have or lack.
struct Check {
  std::string name;
  bool found = false;
  std::string detail;  // what was found, or why not
  std::string needed_for;
  std::string remedy;  // a command or a setting; empty where nothing can be done, or needs to be

  template <class V>
  void visit_fields(V& v) {
    v("name", name);
    v("found", found);
    v("detail", detail);
    v("needed_for", needed_for);
    v("remedy", remedy);
  }
};

// Sum of a buffer far beyond the caches, by all threads; the best of three, in bytes per second. 0 where there is no
// memory for that.
double memory_bandwidth(int threads) {
  constexpr uint64_t kWanted = uint64_t{256} << 20, kFewest = uint64_t{64} << 20;
  const uint64_t bytes = std::min(kWanted, available_memory_bytes() / 4);
  if (bytes < kFewest) return 0;
  const size_t count = bytes / sizeof(uint64_t);
  std::vector<uint64_t> data(count, 1);
  Team team(threads);
  std::vector<uint64_t> sums(size_t(threads) * 8);
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    team.run([&](TeamMember& member) {
      const auto [begin, end] = member.share(int64_t(count), 512);
      uint64_t sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += data[size_t(i)];
      sums[size_t(member.index()) * 8] = sum;
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, double(count * sizeof(uint64_t)) / seconds);
  }
  return best;
}

Check check_kernels(const backend::Capability& capability) {
  return {fmt::format("{} kernels", capability.isa), capability.found, capability.detail, capability.needed_for,
          capability.remedy};
}

Check check_gpu_part(const backend::GpuPart& part) {
  return {part.name, part.found, part.detail, part.needed_for, part.remedy};
}

Check check_cache() {
  const std::filesystem::path folder = cache_folder();
  Check check{"engine cache", true, "", "run, chat, bench and verify on checkpoints", ""};
  // The folder itself, or the nearest above it, which it would be created in.
  std::filesystem::path at = folder;
  while (::access(at.c_str(), F_OK) != 0 && at.has_relative_path()) at = at.parent_path();
  check.found = ::access(at.c_str(), W_OK | X_OK) == 0 && file_kind(at) == FileKind::folder;
  check.detail = fmt::format("\"{}\", {:.1f} GB free", folder.string(), double(available_disk_bytes(at)) / 1e9);
  if (!check.found) {
    check.detail = fmt::format("\"{}\" cannot be written", at.string());
    check.remedy = "export XDG_CACHE_HOME=FOLDER, with one that can be";
  }
  return check;
}

std::vector<Check> all_checks(const std::vector<backend::Capability>& capabilities, const backend::GpuReport& gpus) {
  std::vector<Check> checks;
  for (const backend::Capability& capability : capabilities) checks.push_back(check_kernels(capability));
  checks.push_back(check_cache());
  for (const backend::GpuPart& part : gpus.parts) checks.push_back(check_gpu_part(part));
  return checks;
}

void print_checks(const std::vector<Check>& checks, const Output& output) {
  for (const Check& check : checks) {
    output.print(fmt::format("  {:<4} {}: {}", check.found ? "ok" : "--", check.name, check.detail));
    if (check.found) continue;
    output.print(fmt::format("         needed for {}", check.needed_for));
    if (!check.remedy.empty()) output.print(fmt::format("         {}", check.remedy));
  }
}

Exit run(Output& output) {
  const int threads = available_cpus();
  const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
  const double bandwidth = memory_bandwidth(threads);
  std::vector<backend::Capability> capabilities;
  for (const backend::Device* device : backend::devices()) {
    if (!device->host_memory()) continue;  // what is here of them stands below
    const auto more = device->capabilities();
    capabilities.insert(capabilities.end(), more.begin(), more.end());
  }
  std::vector<std::string> tiers;
  for (const backend::Capability& capability : capabilities) {
    if (capability.found) tiers.push_back(capability.isa);
  }
  const backend::GpuReport gpus = backend::look_at_gpus(gpu_places());
  const std::vector<Check> checks = all_checks(capabilities, gpus);
  output.print(fmt::format(
      "lathe {}, engine format {}, glibc {}\ncpus          {} usable{}\nkernels       {}\nmemory        {:.1f} GB "
      "available, {}",
      LATHE_VERSION, plan::kEngineVersion, ::gnu_get_libc_version(), threads,
      online > threads ? fmt::format(" of {} (affinity or quota)", online) : "",
      tiers.empty() ? "none run on this CPU" : fmt::format("{}", fmt::join(tiers, ", ")),
      double(available_memory_bytes()) / 1e9,
      bandwidth > 0 ? fmt::format("{:.1f} GB/s read by {} threads", bandwidth / 1e9, threads)
                    : "too little to measure"));
  print_checks(checks, output);
  output.result({{"version", LATHE_VERSION},
                 {"build", build_id()},
                 {"engine_format", plan::kEngineVersion},
                 {"glibc", ::gnu_get_libc_version()},
                 {"threads", threads},
                 {"isa", tiers},
                 {"available_memory_bytes", available_memory_bytes()},
                 {"memory_bandwidth_bytes_per_s", bandwidth},
                 {"checks", to_json(checks)},
                 {"cuda", to_json(gpus)}});
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App&) {
  return run;
}

}  // namespace

const Verb& doctor_verb() {
  static const Verb verb{.name = "doctor",
                         .description = "what this machine can do: kernels, memory, bandwidth, GPUs",
                         .example = "lathe doctor",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
