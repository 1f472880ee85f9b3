// lathe tokenize: texts to token ids.
#include <optional>

#include "cli/text_io.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string model;
  std::optional<std::string> text;
  bool from_stdin = false;
  bool special = false;
};

Exit run(const Options& options, Output& output) {
  if (options.text.has_value() == options.from_stdin) {
    fail(ErrorCode::usage, "give either a text or --stdin-json");
  }
  const text::Tokenizer tokenizer = tokenizer_of(options.model);
  if (!options.from_stdin) {
    const auto ids = tokenizer.encode(*options.text, options.special);
    output.print(fmt::format("{}", fmt::join(ids, " ")));
    output.result(Json(ids));
    return Exit::good;
  }
  Json result = Json::array();
  for (const Json& text : read_stdin_list()) {
    if (!text.is_string()) fail(ErrorCode::invalid_input, "standard input: expected texts, found {}", text.type_name());
    result.push_back(tokenizer.encode(text.get_ref<const std::string&>(), options.special));
  }
  output.print(result.dump());
  output.result(result);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("model", options->model, "model, engine, tokenizer.json or tokenizer.model")->required();
  command.add_option("text", options->text, "the text, unless --stdin-json is given");
  command.add_flag("--stdin-json", options->from_stdin, "read a JSON list of texts from standard input");
  command.add_flag("--special", options->special, "add the special tokens of the post-processor");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& tokenize_verb() {
  static const Verb verb{.name = "tokenize",
                         .description = "texts to token ids",
                         .example = "echo '[\"Hello\"]' | lathe tokenize smollm2.lathe --stdin-json --json",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
