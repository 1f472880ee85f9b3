// lathe detokenize: token ids to texts.
#include "cli/text_io.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string model;
  std::vector<int32_t> ids;
  bool from_stdin = false;
};

std::vector<int32_t> ids_of(const Json& list) {
  if (!list.is_array())
    fail(ErrorCode::invalid_input, "standard input: expected lists of ids, found {}", list.type_name());
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer()) fail(ErrorCode::invalid_input, "standard input: expected an id, found {}", id.dump());
    ids.push_back(checked_cast<int32_t>(id.get<int64_t>(), "token id"));
  }
  return ids;
}

Exit run(const Options& options, Output& output) {
  if (options.ids.empty() != options.from_stdin) {
    fail(ErrorCode::usage, "give either token ids or --stdin-json");
  }
  const text::Tokenizer tokenizer = tokenizer_of(options.model);
  if (!options.from_stdin) {
    const std::string text = tokenizer.decode(options.ids, false);
    output.print(text);
    output.result(Json(text));
    return Exit::good;
  }
  Json result = Json::array();
  for (const Json& list : read_stdin_list()) result.push_back(tokenizer.decode(ids_of(list), false));
  output.print(result.dump());
  output.result(result);
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("model", options->model, "model, engine, tokenizer.json or tokenizer.model")->required();
  command.add_option("ids", options->ids, "token ids, unless --stdin-json is given");
  command.add_flag("--stdin-json", options->from_stdin, "read a JSON list of lists of ids from standard input");
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& detokenize_verb() {
  static const Verb verb{.name = "detokenize",
                         .description = "token ids to texts, special tokens kept",
                         .example = "lathe detokenize smollm2.lathe 19556 905",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
