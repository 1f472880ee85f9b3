// Measuring a session: prefill and decode rates at depths and batch sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/session.h"

namespace lathe::bench {

struct BenchOptions {
  std::vector<int64_t> prompts = {512};    // tokens of a prefill; 0 leaves it out
  std::vector<int64_t> generates = {128};  // tokens decoded; 0 leaves it out
  std::vector<int64_t> depths = {0};       // positions already in the cache
  std::vector<int64_t> sequences = {1};    // decoded together
  int repeats = 9;
};

struct Result {
  std::string test;  // "prefill" or "decode"
  int64_t prompt = 0;
  int64_t generate = 0;
  int64_t depth = 0;
  int64_t sequences = 1;
  std::vector<double> samples;  // tokens per second, of all sequences together
  double median = 0;
  std::string unit = "tokens/s";

  template <class V>
  void visit_fields(V& v) {
    v("test", test);
    v("prompt", prompt);
    v("generate", generate);
    v("depth", depth);
    v("sequences", sequences);
    v("samples", samples);
    v("median", median);
    v("unit", unit);
  }
};

double median_of(std::vector<double> values);

// Throws usage, naming the option, for numbers that no test can have: negative ones, no sequences, tests longer than
// `context_length` positions, nothing to measure.
void check(const BenchOptions& options, int64_t context_length);

// Positions of cache that the tests need at once. `options` have passed check().
// `kv_block`: Device::kv_block.
int64_t cache_tokens_needed(const BenchOptions& options, int64_t kv_block);

// The processor as the system names it, for the conditions of a figure; "unknown" where it does not say.
std::string cpu_name();

// Runs every test `repeats` times after one run to warm up. `options` have passed check() for the session's context.
// Tokens are a fixed pseudo-random sequence; decoded tokens are the most likely ones, so that the whole path is
// measured. `on_result` is called after each test.
std::vector<Result> run(runtime::Session& session, const BenchOptions& options,
                        const std::function<void(const Result&)>& on_result);

}  // namespace lathe::bench
