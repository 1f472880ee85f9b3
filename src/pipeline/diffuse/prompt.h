// From a prompt to the token ids that a CLIP text encoder is fed, in chunks of its length, and to what weighted words
// do to its output.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/clip_tokenizer.h"

namespace lathe::pipeline {

// A stretch of a prompt with one weight.
struct PromptPiece {
  std::string text;
  double weight = 1;
  bool begins_chunk = false;  // stood after BREAK

  bool operator==(const PromptPiece&) const = default;
};

// Reads AUTOMATIC1111's notation: (text) weighs 1.1 times as much, (text:1.3) 1.3 times, [text] 1 / 1.1 times, nested
// as deep as one likes; \( \) \[ \] \\ are the characters themselves; BREAK begins a new chunk. Brackets that are never
// closed count to the end, others that open nothing are text. Pieces of equal weight are joined; there is at least one.
// Throws usage for more than 16,384 brackets and escapes.
std::vector<PromptPiece> parse_prompt(std::string_view prompt);

// One call of the encoder: start token, up to 75 tokens, end token, pads.
struct PromptChunk {
  std::vector<int32_t> ids;    // [length]
  std::vector<float> weights;  // [length]; 1 for what is not of the prompt
};

struct EncodedPrompt {
  std::vector<PromptChunk> chunks;  // at least one
  size_t tokens = 0;                // of the prompt itself
  std::string cut_off;              // plain prompts: the words that were too many

  bool weighted() const;
};

struct PromptOptions {
  bool weighting = true;        // false: the prompt is plain text, cut off after the encoder's length
  size_t length = 77;           // of the encoder, start and end token included
  size_t most_chunks = 32;      // longer prompts are refused
  size_t comma_backtrack = 20;  // a chunk that is full ends after a comma among its last tokens, if there is one
};

// Without weights and within one chunk both ways give the ids that diffusers feeds. Throws usage for a prompt of more
// chunks than allowed, invalid_input for text that is not UTF-8.
EncodedPrompt encode_prompt(const text::ClipTokenizer& tokenizer, std::string_view prompt,
                            const PromptOptions& options);

// Both to the same number of chunks, by empty ones: guidance runs prompt and negative prompt in one batch.
void pad_to_same_chunks(EncodedPrompt& a, EncodedPrompt& b, const text::ClipTokenizer& tokenizer);

// Multiplies each row of the encoder's output for a chunk, [length, width], by its token's weight, and then everything
// so that the mean of all numbers is what it was (AUTOMATIC1111's "original" emphasis). Nothing changes where all
// weights are 1. Throws usage where the weights leave a mean of zero.
void apply_weights(std::span<float> hidden, std::span<const float> weights);

}  // namespace lathe::pipeline
