#include "bench/bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::bench {
namespace {

using runtime::Logits;
using runtime::SequenceId;
using runtime::Session;
using runtime::StepItem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

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
    session.step(items,
                 [&](size_t item, int64_t, std::span<const float> logits) { chosen[item] = most_likely(logits); });
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

void check(const BenchOptions& options, int64_t context_length) {
  constexpr int64_t kMostSequences = 65536;
  const auto within = [](std::string_view option, const std::vector<int64_t>& values, int64_t least, int64_t most) {
    if (values.empty()) fail(ErrorCode::usage, "{}: expected at least one number", option);
    for (const int64_t value : values) {
      if (value < least || value > most) fail(ErrorCode::usage, "{} {}: expected {} to {}", option, value, least, most);
    }
  };
  within("--prompt", options.prompts, 0, context_length);
  within("--generate", options.generates, 0, context_length);
  within("--depth", options.depths, 0, context_length);
  within("--sequences", options.sequences, 1, kMostSequences);
  if (options.repeats < 1) fail(ErrorCode::usage, "--repeat {}: expected 1 or more", options.repeats);
  const int64_t depth = *std::max_element(options.depths.begin(), options.depths.end());
  bool any = false;
  for (const auto& [option, lengths] : {std::pair{"--prompt", &options.prompts}, {"--generate", &options.generates}}) {
    const int64_t length = *std::max_element(lengths->begin(), lengths->end());
    any |= length > 0;
    if (length > 0 && depth + length > context_length) {
      fail(ErrorCode::usage, "--depth {} and {} {} take {} positions, the context holds {}", depth, option, length,
           depth + length, context_length);
    }
  }
  if (!any) fail(ErrorCode::usage, "--prompt 0 and --generate 0 leave nothing to measure");
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

int64_t cache_tokens_needed(const BenchOptions& options, int64_t kv_block) {
  const auto largest = [](const std::vector<int64_t>& values) {
    return *std::max_element(values.begin(), values.end());
  };
  const int64_t length = largest(options.depths) + std::max(largest(options.prompts), largest(options.generates));
  // Each sequence fills its last block alone.
  return checked_mul(align_up(length, kv_block), largest(options.sequences), "positions of the cache");
}

std::vector<Result> run(Session& session, const BenchOptions& options,
                        const std::function<void(const Result&)>& on_result) {
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
        measure({.test = "decode",
                 .prompt = 0,
                 .generate = generate,
                 .depth = depth,
                 .sequences = sequences,
                 .samples = {}},
                [&] { return decode_once(session, filled, generate); });
      }
    }
  }
  return results;
}

}  // namespace lathe::bench
