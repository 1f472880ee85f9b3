// A model's chat template: messages to the text that the model was trained on.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace lathe::text {

struct ChatTemplateOptions {
  bool add_generation_prompt = true;  // end with the beginning of the assistant's turn
  std::string bos_token, eos_token;   // as text; empty: the template sees an empty string
  Json tools = nullptr;               // array of tool descriptions, or null
  Json documents = nullptr;           // array, or null
  Json extra = Json::object();  // further variables, e.g. {"enable_thinking": false}; they override the above
  std::tm now = {};             // what strftime_now() formats; the caller's local time
};

// Jinja as transformers runs it: trim_blocks, lstrip_blocks, loop controls, an immutable sandbox. Immutable,
// may be used by many threads at once.
class ChatTemplate {
 public:
  // Throws invalid_input (syntax, with the line), unsupported.
  explicit ChatTemplate(std::string source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `messages` is an array of {"role", "content", ...}. Throws invalid_input with the template's own message
  // when it calls raise_exception, or for what it does wrong; resource when it takes too many steps or too
  // much text.
  std::string render(const Json& messages, const ChatTemplateOptions& options) const;

  const std::string& source() const { return source_; }

 private:
  std::string source_;
  struct Tree;
  std::unique_ptr<const Tree> tree_;
};

}  // namespace lathe::text
