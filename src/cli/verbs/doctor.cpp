// lathe doctor: what this machine can do.
#include <dlfcn.h>

#include <chrono>
#include <cstring>

#include "backend/cpu/isa.h"
#include "base/memory.h"
#include "base/team.h"
#include "cli/verb.h"
#include "plan/engine_file.h"

namespace lathe::cli {
namespace {

// Sum of a buffer far beyond the caches, by all threads; the best of three, in bytes per second.
double memory_bandwidth(int threads) {
  const size_t count = (size_t{256} << 20) / sizeof(uint64_t);
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

bool can_load(const char* library) {
  void* handle = ::dlopen(library, RTLD_LAZY | RTLD_LOCAL);
  if (handle) ::dlclose(handle);
  return handle != nullptr;
}

Exit run(Output& output) {
  using backend::cpu::Isa;
  const int threads = available_cpus();
  const double bandwidth = memory_bandwidth(threads);
  const bool gpu = can_load("libcuda.so.1");
  Json tiers = Json::array();
  for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::amx}) {
    if (backend::cpu::has_isa(isa)) tiers.push_back(std::string(to_string(isa)));
  }
  output.print(fmt::format(
      "lathe {}, engine format {}\ncpus          {} usable\nkernels       {} (best: {}{})\nmemory        {:.1f} GB "
      "available, {:.1f} GB/s read by {} threads\ncuda driver   {}",
      LATHE_VERSION, plan::kEngineVersion, threads, tiers.dump(), to_string(backend::cpu::best_isa()),
      backend::cpu::has_avx512_bf16() ? ", with bf16 products" : "", double(available_memory_bytes()) / 1e9,
      bandwidth / 1e9, threads,
      gpu ? "found (this version of lathe runs on the CPU only)" : "not found (not needed: this version runs on the CPU)"));
  output.result({{"version", LATHE_VERSION},
                 {"engine_format", plan::kEngineVersion},
                 {"threads", threads},
                 {"isa", tiers},
                 {"avx512_bf16", backend::cpu::has_avx512_bf16()},
                 {"available_memory_bytes", available_memory_bytes()},
                 {"memory_bandwidth_bytes_per_s", bandwidth},
                 {"cuda_driver", gpu}});
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App&) { return run; }

}  // namespace

const Verb& doctor_verb() {
  static const Verb verb{.name = "doctor",
                         .description = "what this machine can do: kernels, memory, bandwidth, driver",
                         .example = "lathe doctor",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
