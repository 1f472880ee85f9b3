// Conversations as the tokens a model was trained on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "contract/contract.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace lathe::pipeline {

// A model's chat template with its special tokens. Immutable; may be used by many threads at once.
class ChatPrompt {
 public:
  // Throws unsupported when the model has no chat template, invalid_input when it is not right.
  ChatPrompt(const contract::Contract& contract, text::Tokenizer tokenizer);

  // `messages` is an array of {"role", "content", ...}; the text ends where the assistant's answer begins.
  // `options` may bring tools, documents and further variables; special tokens and the time are filled in.
  std::string render(const Json& messages, text::ChatTemplateOptions options = {}) const;
  // The same as tokens. The template writes its own beginning token, so that none is added.
  std::vector<int32_t> encode(const Json& messages, text::ChatTemplateOptions options = {}) const;

 private:
  text::Tokenizer tokenizer_;
  text::ChatTemplate template_;
  std::string bos_token_, eos_token_;
};

}  // namespace lathe::pipeline
