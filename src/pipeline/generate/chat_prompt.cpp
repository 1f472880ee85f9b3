#include "pipeline/generate/chat_prompt.h"

#include <ctime>
#include <utility>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

const std::string& template_of(const contract::Contract& contract) {
  if (contract.chat_template.empty()) {
    fail(ErrorCode::unsupported, "model \"{}\" has no chat template; give it plain text", contract.name);
  }
  return contract.chat_template;
}

}  // namespace

ChatPrompt::ChatPrompt(const contract::Contract& contract, text::Tokenizer tokenizer)
    : tokenizer_(std::move(tokenizer)), template_(template_of(contract)) {
  if (contract.bos_id) bos_token_ = tokenizer_.id_to_token(int32_t(*contract.bos_id)).value_or("");
  if (!contract.eos_ids.empty()) {
    eos_token_ = tokenizer_.id_to_token(int32_t(contract.eos_ids.front())).value_or("");
  }
}

std::string ChatPrompt::render(const Json& messages, text::ChatTemplateOptions options) const {
  options.bos_token = bos_token_;
  options.eos_token = eos_token_;
  const std::time_t now = std::time(nullptr);
  ::localtime_r(&now, &options.now);
  return template_.render(messages, options);
}

std::vector<int32_t> ChatPrompt::encode(const Json& messages, text::ChatTemplateOptions options) const {
  return tokenizer_.encode(render(messages, std::move(options)), false);
}

}  // namespace lathe::pipeline
