#include "pipeline/generate/generate.h"

#include <algorithm>

#include "base/error.h"
#include "pipeline/generate/stop_texts.h"
#include "pipeline/generate/timing.h"

namespace lathe::pipeline {
namespace {

// Tokens to text to the caller, and whether the text says that the generation ends. Without a tokenizer it
// gives no text and never ends.
class TextOutput {
 public:
  TextOutput(const text::Tokenizer* tokenizer, const GenerateOptions& options, const OnText& on_text)
      : stops_(options.stop), on_text_(on_text) {
    if (tokenizer)
      decoder_.emplace(*tokenizer, true);
    else if (!options.stop.empty())
      fail(ErrorCode::usage, "stop texts need a tokenizer");
  }

  // False: no more tokens are wanted.
  bool push(int32_t token) {
    return !decoder_ || (emit(stops_.push(decoder_->push(token))) && !stops_.found());
  }
  // What was held back; true if that ended with a stop text.
  bool finish() {
    if (!decoder_) return false;
    if (!stopped_) emit(stops_.push(decoder_->finish()));
    if (!stopped_ && !stops_.found()) emit(stops_.finish());
    return stops_.found();
  }
  std::string take_text() { return std::move(text_); }

 private:
  bool emit(const std::string& piece) {
    if (piece.empty()) return true;
    text_ += piece;
    stopped_ = on_text_ && !on_text_(piece);
    return !stopped_;
  }

  std::optional<text::StreamDecoder> decoder_;
  StopTexts stops_;
  const OnText& on_text_;
  std::string text_;
  bool stopped_ = false;  // by the caller
};

// One sequence of a session.
class SessionSequence final : public TokenModel {
 public:
  SessionSequence(runtime::Session& session, runtime::SequenceId sequence) : session_(session), sequence_(sequence) {}

  const contract::Contract& contract() const override { return session_.contract(); }
  int64_t context_length() const override { return session_.context_length(); }
  int64_t length() const override { return session_.length(sequence_); }

  std::span<const float> append(std::span<const int32_t> tokens, const OnPromptLogits& on_logits) override {
    if (!on_logits) return session_.step(sequence_, tokens);
    const runtime::StepItem item{sequence_, tokens, runtime::Logits::all};
    session_.step(std::span(&item, 1), [&](size_t, int64_t position, std::span<const float> logits) {
      on_logits(position, logits);
      if (position + 1 == int64_t(tokens.size())) last_.assign(logits.begin(), logits.end());
    });
    return last_;
  }

 private:
  runtime::Session& session_;
  runtime::SequenceId sequence_;
  std::vector<float> last_;  // a copy: rows of a long step come in pieces
};

}  // namespace

std::string_view to_string(FinishReason reason) {
  return reason == FinishReason::stop ? "stop" : "length";
}

void check_prompt(int64_t held, int64_t tokens, int64_t context_length) {
  if (tokens == 0) fail(ErrorCode::invalid_input, "the prompt has no tokens");
  if (tokens > context_length - held) {
    const std::string before = held > 0 ? fmt::format(" after {} others", held) : "";
    fail(ErrorCode::invalid_input, "the prompt has {} tokens{}, the context holds {}", tokens, before,
         context_length);
  }
}

GenerateResult generate(TokenModel& model, const text::Tokenizer* tokenizer, std::span<const int32_t> prompt,
                        const GenerateOptions& options, const OnText& on_text,
                        const OnPromptLogits& on_prompt_logits) {
  if (options.max_tokens < 0)
    fail(ErrorCode::usage, "max_tokens is {}, expected 0 or more", options.max_tokens);
  const int64_t held = model.length();
  check_prompt(held, int64_t(prompt.size()), model.context_length());
  Sampler sampler(options.sampling, model.contract().vocab_size);
  sampler.accept_prompt(options.history);
  sampler.accept_prompt(prompt);
  TextOutput output(tokenizer, options, on_text);
  const std::vector<int64_t>& eos_ids = model.contract().eos_ids;

  GenerateResult result;
  result.prompt_tokens = int64_t(prompt.size());
  const auto start = Clock::now();
  std::span<const float> logits = model.append(prompt, on_prompt_logits);
  result.prefill_ms = ms_since(start);

  const int64_t room = model.context_length() - held - int64_t(prompt.size());
  const int64_t limit = std::min(options.max_tokens, room);
  const auto decode_start = Clock::now();
  while (int64_t(result.tokens.size()) < limit) {
    const int32_t token = sampler.sample(logits);
    const bool ends = std::find(eos_ids.begin(), eos_ids.end(), int64_t(token)) != eos_ids.end();
    if (ends && !options.ignore_eos) {
      result.finish_reason = FinishReason::stop;
      break;
    }
    result.tokens.push_back(token);
    if (!output.push(token)) {
      result.finish_reason = FinishReason::stop;
      break;
    }
    if (int64_t(result.tokens.size()) == limit) break;
    logits = model.append({&token, 1}, {});
    ++result.decode_steps;
  }
  if (output.finish()) result.finish_reason = FinishReason::stop;
  result.decode_ms = ms_since(decode_start);
  result.text = output.take_text();
  return result;
}

GenerateResult generate(runtime::Session& session, runtime::SequenceId sequence, const text::Tokenizer* tokenizer,
                        std::span<const int32_t> prompt, const GenerateOptions& options, const OnText& on_text,
                        const OnPromptLogits& on_prompt_logits) {
  SessionSequence model(session, sequence);
  return generate(model, tokenizer, prompt, options, on_text, on_prompt_logits);
}

}  // namespace lathe::pipeline
