// Text generation on a session: prompt in, tokens and text out, as they come.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pipeline/generate/sampler.h"
#include "runtime/session.h"
#include "text/tokenizer.h"

namespace lathe::pipeline {

struct GenerateOptions {
  int64_t max_tokens = 128;  // 0: only evaluate the prompt
  SamplingOptions sampling;
  std::vector<std::string> stop;  // texts that end the generation and are not part of the result
  bool ignore_eos = false;
  std::vector<int32_t> history;  // tokens the sequence holds before the prompt, for the repetition penalty
};

enum class FinishReason { stop, length };
std::string_view to_string(FinishReason reason);

struct GenerateResult {
  std::vector<int32_t> tokens;  // generated, without the end token unless it is ignored
  std::string text;             // of these tokens, up to a stop text; empty without a tokenizer
  int64_t prompt_tokens = 0;
  FinishReason finish_reason = FinishReason::length;
  double prefill_ms = 0;     // prompt until the first token's logits
  double decode_ms = 0;      // the rest
  int64_t decode_steps = 0;  // steps in that time; each gave one token, which may be the end token
};

// Called with each piece of text that has become certain: whole UTF-8 characters, and never a part of a stop
// text. Return false to end the generation (finish_reason stop).
using OnText = std::function<bool(std::string_view piece)>;
// Called with the logits [vocabulary] of every prompt position when set (slower: all rows are computed).
using OnPromptLogits = std::function<void(int64_t position, std::span<const float> logits)>;

// Fits `tokens` more positions after `held` ones, or invalid_input naming prompt and context.
void check_prompt(int64_t held, int64_t tokens, int64_t context_length);

// What a generation needs of a model: one sequence that tokens are appended to.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual const contract::Contract& contract() const = 0;
  virtual int64_t context_length() const = 0;  // positions it can hold
  virtual int64_t length() const = 0;          // positions it holds
  // Appends tokens; logits [vocabulary] after the last one, until the next call. on_logits, if set, gets those of each.
  virtual std::span<const float> append(std::span<const int32_t> tokens, const OnPromptLogits& on_logits) = 0;
};
GenerateResult generate(TokenModel& model, const text::Tokenizer* tokenizer, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const OnText& on_text = {},
                        const OnPromptLogits& on_prompt_logits = {});

// Generates from `prompt` at the end of `sequence` (which may hold an earlier part of the conversation). The
// sequence afterwards holds prompt and generated tokens but for the last one. `tokenizer` may be null: then
// no text. Prompt and generated tokens together never exceed the context (finish_reason length). Throws
// invalid_input naming both numbers when the prompt does not fit, usage for bad options.
GenerateResult generate(runtime::Session& session, runtime::SequenceId sequence,
                        const text::Tokenizer* tokenizer, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const OnText& on_text = {},
                        const OnPromptLogits& on_prompt_logits = {});

// Beam search over whole sequences (length-normalised sum of log-probabilities, as transformers with
// length_penalty 1 and early_stopping off); the best one. The session must hold `beams` more sequences of the
// prompt and max_tokens. The repetition penalty and logit bias apply; what concerns drawing, and stop texts,
// do not: they throw usage.
GenerateResult beam_search(runtime::Session& session, const text::Tokenizer* tokenizer,
                           std::span<const int32_t> prompt, int64_t beams, const GenerateOptions& options);

}  // namespace lathe::pipeline
