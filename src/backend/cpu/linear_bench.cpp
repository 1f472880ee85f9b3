// Times problems of tests/op/linear.cases: linear_bench [isa=..] [threads=..] [cold=1] [LINE...]
//
// Without lines it takes those of the file that begin with "bench". Weights are read from as many copies as
// fill 384 MB (cold=1), beyond any cache here, or from one copy that stays where it fits. GB/s counts packed
// weights; the read rate beside it is a plain read of the same memory by the same team just before.
#include <fmt/format.h>
#include <time.h>

#include <cstdio>
#include <cstring>

#include "backend/cpu/linear_cases.h"

namespace lathe::backend::cpu {
namespace {

// Seconds of the wall clock, or of this thread's own time where it works alone: that holds on a busy machine.
double now(bool alone) {
  timespec time;
  ::clock_gettime(alone ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return double(time.tv_sec) + 1e-9 * double(time.tv_nsec);
}

template <class Body>
double seconds_of(bool alone, Body&& body) {
  const double start = now(alone);
  body();
  return now(alone) - start;
}

uint64_t sum_bytes(const std::byte* data, size_t size) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 64 <= size; i += 64) {
    uint64_t words[8];
    std::memcpy(words, data + i, 64);
    for (int j = 0; j < 8; ++j) sums[j] += words[j];
  }
  return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

struct Options {
  Isa isa = best_isa();
  int threads = 2;
  bool cold = false;
};

void run_problem(const LinearProblem& problem, const Options& options) {
  Team team(options.threads);
  size_t size = 0;
  std::vector<size_t> offsets;
  int64_t outputs = 0;
  for (size_t i = 0; i < problem.layouts.size(); ++i) {
    offsets.push_back(size);
    size += packed_size(problem.layouts[i], problem.rows[i], problem.columns);
    outputs += problem.rows[i];
  }
  const size_t copies = options.cold ? ceil_div(size_t{384} << 20, size) : 1;
  const AlignedBytes weights(size * copies);
  for (size_t i = 0; i < problem.layouts.size(); ++i) {
    const auto source = random_weights(problem.layouts[i], problem.rows[i], problem.columns, uint32_t(i));
    const AlignedBytes packed = pack_all(problem.layouts[i], *source);
    for (size_t copy = 0; copy < copies; ++copy) {
      std::memcpy(weights.data + copy * size + offsets[i], packed.data, packed.size);
    }
  }
  std::vector<float> x(size_t(problem.tokens * problem.columns)), scale(size_t(problem.columns), 1.0f);
  for (size_t i = 0; i < x.size(); ++i) x[i] = float(int(i * 2654435761u >> 20) - 2048) / 2048.0f;
  std::vector<float> y(size_t(problem.tokens * outputs));
  const AlignedBytes scratch(linear_scratch_size(problem.tokens, problem.columns, options.threads));
  const LinearKernel kernel = linear_kernel(options.isa);
  const auto multiply = [&](TeamMember& member, size_t copy) {
    std::vector<LinearPart> parts;
    for (size_t i = 0; i < problem.layouts.size(); ++i) {
      parts.push_back({weights.data + copy * size + offsets[i], problem.layouts[i], problem.rows[i]});
    }
    LinearCall call = {};
    call.x = x.data();
    call.tokens = problem.tokens;
    call.columns = problem.columns;
    call.norm = problem.norm;
    call.norm_scale = problem.norm == Norm::none ? nullptr : scale.data();
    call.epsilon = 1e-5f;
    call.parts = parts;
    call.activation = problem.activation;
    call.y = y.data();
    call.compute = problem.compute;
    call.scratch = scratch.data;
    kernel(call, member);
    member.barrier();
  };
  const double operations = 2.0 * double(problem.tokens * problem.columns * outputs);
  // About 20 ms of work in one sample, so that the start of the team does not count.
  const size_t rounds = copies > 1 ? copies : size_t(std::max(1.0, 4e9 / operations));
  double read = 1e9, time = 1e9;
  for (int repeat = 0; repeat < 7; ++repeat) {
    if (problem.tokens <= 4) {
      read = std::min(read, seconds_of(options.threads == 1, [&] {
                        team.run([&](TeamMember& member) {
                          for (size_t i = 0; i < rounds; ++i) {
                            const auto part = member.share(int64_t(size), 64);
                            volatile uint64_t sink =
                                sum_bytes(weights.data + (i % copies) * size + part.begin,
                                          size_t(part.end - part.begin));
                            (void)sink;
                          }
                        });
                      }));
    }
    time = std::min(time, seconds_of(options.threads == 1, [&] {
                      team.run([&](TeamMember& member) {
                        for (size_t i = 0; i < rounds; ++i) multiply(member, i % copies);
                      });
                    }));
  }
  const double seconds = time / double(rounds);
  fmt::print("{:6} {}t {:9.3f} us {:8.1f} Gop/s", to_string(options.isa), options.threads, seconds * 1e6,
             operations / seconds * 1e-9);
  if (problem.tokens <= 4) {
    fmt::print(" {:6.1f} GB/s of {:6.1f} read ({:3.0f} %)", double(size) / seconds * 1e-9,
               double(size * rounds) / read * 1e-9, 100 * read / time);
  }
  fmt::print("  {:.1f} MB x {}  {}\n", double(size) * 1e-6, copies, problem.text);
  std::fflush(stdout);
}

}  // namespace
}  // namespace lathe::backend::cpu

int main(int argc, char** argv) {
  using namespace lathe;
  using namespace lathe::backend::cpu;
  Options options;
  std::vector<std::string> lines;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string argument = argv[i];
      if (argument.starts_with("isa="))
        options.isa = find_isa(argument.substr(4)).value();
      else if (argument.starts_with("threads="))
        options.threads = std::stoi(argument.substr(8));
      else if (argument.starts_with("cold="))
        options.cold = argument == "cold=1";
      else
        lines.push_back(argument);
    }
    if (lines.empty()) {
      for (const std::string& line : case_lines()) {
        if (line.starts_with("bench ")) lines.push_back(line);
      }
    }
    for (const std::string& line : lines) {
      for (const LinearProblem& problem : expand_line(line)) run_problem(problem, options);
    }
  } catch (const std::exception& error) {
    fmt::print(stderr, "linear_bench: {}\n", error.what());
    return 2;
  }
  return 0;
}
