#include "bench/bench.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace lathe::bench {
namespace {

using runtime::Logits;
using runtime::SequenceId;
using runtime::Session;
using runtime::StepItem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Token ids in the vocabulary, the same on every run (Knuth's multiplicative congruential generator).
std::vector<int32_t> some_tokens(int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens;
  uint64_t state = 1;
  for (int64_t i = 0; i < count; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    tokens.push_back(int32_t((state >> 33) % uint64_t(vocab)));
  }
  return tokens;
}

int32_t most_likely(std::span<const float> logits) {
  return int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Sequences with `depth` positions each, released at the end of the scope.
class Filled {
 public:
  Filled(Session& session, int64_t count, int64_t depth) : session_(session), depth_(depth) {
    const auto tokens = some_tokens(depth, session.vocab_size());
    for (int64_t i = 0; i < count; ++i) {
      ids_.push_back(session.create());
      if (depth == 0) continue;
      const StepItem item{ids_.back(), tokens, Logits::none};
      session.step(std::span(&item, 1), {});
    }
  }
  ~Filled() {
    for (const SequenceId id : ids_) session_.release(id);
  }
  Filled(const Filled&) = delete;
  Filled& operator=(const Filled&) = delete;

  const std::vector<SequenceId>& ids() const { return ids_; }
  void rewind() {
    for (const SequenceId id : ids_) session_.truncate(id, depth_);
  }

 private:
  Session& session_;
  int64_t depth_;
  std::vector<SequenceId> ids_;
};

double prefill_once(Session& session, Filled& filled, std::span<const int32_t> tokens) {
  filled.rewind();
  const auto start = Clock::now();
  session.step(filled.ids()[0], tokens);
  return double(tokens.size()) / seconds_since(start);
}

double decode_once(Session& session, Filled& filled, int64_t count) {
  filled.rewind();
  const size_t n = filled.ids().size();
  std::vector<int32_t> next(n, 1);
  const auto start = Clock::now();
  for (int64_t i = 0; i < count; ++i) {
    std::vector<StepItem> items;
    for (size_t s = 0; s < n; ++s) items.push_back({filled.ids()[s], {&next[s], 1}, Logits::last});
    std::vector<int32_t> chosen(n);
    session.step(items, [&](size_t item, int64_t, std::span<const float> logits) { chosen[item] = most_likely(logits); });
    next = std::move(chosen);
  }
  return double(count * int64_t(n)) / seconds_since(start);
}

}  // namespace

double median_of(std::vector<double> values) {
  LATHE_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

int64_t cache_tokens_needed(const BenchOptions& options) {
  const auto largest = [](const std::vector<int64_t>& values) {
    return values.empty() ? int64_t{0} : *std::max_element(values.begin(), values.end());
  };
  const int64_t length = largest(options.depths) + std::max(largest(options.prompts), largest(options.generates));
  // Each sequence fills its last block alone.
  return (length + 64) * std::max<int64_t>(largest(options.sequences), 1);
}

std::vector<Result> run(Session& session, const BenchOptions& options,
                        const std::function<void(const Result&)>& on_result) {
  if (options.repeats < 1) fail(ErrorCode::usage, "--repeat {}", options.repeats);
  std::vector<Result> results;
  const auto measure = [&](Result result, const std::function<double()>& once) {
    once();
    for (int i = 0; i < options.repeats; ++i) result.samples.push_back(once());
    result.median = median_of(result.samples);
    on_result(result);
    results.push_back(std::move(result));
  };
  for (const int64_t depth : options.depths) {
    for (const int64_t prompt : options.prompts) {
      if (prompt == 0) continue;
      Filled filled(session, 1, depth);
      const auto tokens = some_tokens(prompt, session.vocab_size());
      measure({.test = "prefill", .prompt = prompt, .generate = 0, .depth = depth, .sequences = 1, .samples = {}},
              [&] { return prefill_once(session, filled, tokens); });
    }
    for (const int64_t generate : options.generates) {
      if (generate == 0) continue;
      for (const int64_t sequences : options.sequences) {
        Filled filled(session, sequences, depth);
        measure({.test = "decode", .prompt = 0, .generate = generate, .depth = depth, .sequences = sequences, .samples = {}},
                [&] { return decode_once(session, filled, generate); });
      }
    }
  }
  return results;
}

}  // namespace lathe::bench
