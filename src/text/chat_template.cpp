#include "text/chat_template.h"

#include <array>

#include "base/error.h"
#include "text/jinja_interpreter.h"

namespace lathe::text {
namespace {

using jinja::Arguments;
using jinja::Function;
using jinja::Interpreter;
using jinja::Value;

Function strftime_now(const std::tm& now) {
  return {
      "strftime_now", [now](Interpreter&, Arguments& arguments) -> Value {
        if (arguments.positional.size() != 1 || !arguments.positional[0].is_string()) {
          fail(ErrorCode::invalid_input, "chat template: strftime_now needs a format");
        }
        const std::string& format = arguments.positional[0].string();
        std::array<char, 512> text{};
        if (format.empty()) return Value("");
        if (format.size() > 128)
          fail(ErrorCode::invalid_input, "chat template: strftime_now with a long format");
        return Value(std::string(text.data(), std::strftime(text.data(), text.size(), format.c_str(), &now)));
      }};
}

}  // namespace

struct ChatTemplate::Tree {
  jinja::Block block;
};

ChatTemplate::ChatTemplate(std::string source)
    : source_(std::move(source)), tree_(std::make_unique<const Tree>(Tree{jinja::parse_template(source_)})) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const Json& messages, const ChatTemplateOptions& options) const {
  if (!messages.is_array())
    fail(ErrorCode::invalid_input, "messages: expected an array, found {}", messages.type_name());
  if (!options.extra.is_object())
    fail(ErrorCode::invalid_input, "extra template variables: expected an object");
  jinja::Dict globals = jinja::builtin_functions();
  globals.set("strftime_now", strftime_now(options.now));
  globals.set("messages", Value::from_json(messages));
  globals.set("tools", Value::from_json(options.tools));
  globals.set("documents", Value::from_json(options.documents));
  globals.set("add_generation_prompt", Value(options.add_generation_prompt));
  globals.set("bos_token", Value(options.bos_token));
  globals.set("eos_token", Value(options.eos_token));
  for (const auto& [name, value] : options.extra.get_ref<const Json::object_t&>()) {
    globals.set(name, Value::from_json(value));
  }
  Interpreter interpreter(jinja::Limits{}, std::move(globals));
  return interpreter.render(tree_->block);
}

}  // namespace lathe::text
