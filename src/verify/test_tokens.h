// What to feed an engine under test: text, a conversation, or tokens that mean nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/engine_file.h"

namespace lathe::verify {

// The first `count` tokens of `text`, fewer if it is shorter; none where the model has no tokenizer.
std::vector<int32_t> text_tokens(const plan::EngineFile& engine, const std::string& text, int64_t count);

// A fixed pseudo-random sequence, another for each seed.
std::vector<int32_t> random_tokens(const plan::EngineFile& engine, int64_t count, uint64_t seed);

// A short conversation in the model's own template, up to where it answers: its special tokens bring activations
// that prose does not. Empty where the model has no template or tokenizer, or the template refuses the messages.
std::vector<int32_t> test_conversation(const plan::EngineFile& engine);

}  // namespace lathe::verify
