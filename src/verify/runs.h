// Running an engine in the ways that the gates compare.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/session.h"

namespace lathe::verify {

// Logits of positions, [positions][vocabulary].
using LogitRows = std::vector<std::vector<float>>;

// All rows of a fresh sequence fed `tokens` in chunks of the given sizes (the last one repeats). Steps are no longer
// than the rows of logits that the session computes at once.
LogitRows run_chunks(runtime::Session& session, std::span<const int32_t> tokens, std::span<const int64_t> chunks);

// The last row alone, as text generation runs a prompt: steps as long as the session takes.
std::vector<float> run_last(runtime::Session& session, std::span<const int32_t> tokens,
                            std::span<const int64_t> chunks);

// All rows of `tokens` while other sequences run in the same steps.
LogitRows run_in_batch(runtime::Session& session, std::span<const int32_t> tokens,
                       std::span<const std::vector<int32_t>> others);

// Every f32 tensor of a run over all of `tokens` in one step, by name. The session must compute as many rows of
// logits at once as there are tokens (SessionOptions::max_outputs).
struct TracedTensor {
  std::string node;
  int64_t rows = 0;
  std::vector<float> values;
};
using Trace = std::vector<std::pair<std::string, TracedTensor>>;  // in order of execution
Trace trace(runtime::Session& session, std::span<const int32_t> tokens);

// Greedy tokens after `prompt`, with the margin between the two most likely at each.
struct GreedyToken {
  int32_t token;
  double margin;
};
std::vector<GreedyToken> greedy(runtime::Session& session, std::span<const int32_t> prompt, int64_t count);

}  // namespace lathe::verify
