// Running an engine in the ways that the gates compare.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plan/engine_file.h"
#include "runtime/session.h"

namespace lathe::verify {

// Logits of positions, [positions][vocabulary].
using LogitRows = std::vector<std::vector<float>>;

// All rows of a fresh sequence fed `tokens` in chunks of the given sizes (the last one repeats).
LogitRows run_chunks(runtime::Session& session, std::span<const int32_t> tokens, std::span<const int64_t> chunks);

// The same tokens while other sequences run in the same steps.
LogitRows run_in_batch(runtime::Session& session, std::span<const int32_t> tokens,
                       std::span<const std::vector<int32_t>> others);

// Every f32 tensor of a run over all of `tokens` in one step, by name.
struct TracedTensor {
  std::string node;
  std::string op;
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

// Token ids to test with: of `text` where there is a tokenizer, else a fixed pseudo-random sequence.
std::vector<int32_t> test_tokens(const plan::EngineFile& engine, const std::string& text, int64_t count,
                                 uint64_t seed = 1);

// A short conversation in the model's own template, up to where it answers: its special tokens bring activations
// that prose does not. Empty where the model has no template or tokenizer, or the template refuses the messages.
std::vector<int32_t> test_conversation(const plan::EngineFile& engine);

}  // namespace lathe::verify
