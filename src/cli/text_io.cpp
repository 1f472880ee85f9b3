#include "cli/text_io.h"

#include <iostream>
#include <iterator>

#include "base/file.h"
#include "cli/model.h"
#include "text/sentencepiece.h"

namespace lathe::cli {

text::Tokenizer tokenizer_of(const std::string& model) {
  const std::filesystem::path path = model;
  if (plan::is_engine_file(path)) return open_tokenizer(*plan::EngineFile::open(path));
  if (file_kind(path) == FileKind::folder && file_kind(path / "tokenizer.json") != FileKind::nothing) {
    return text::Tokenizer::from_text(read_text_file(path / "tokenizer.json"), (path / "tokenizer.json").string());
  }
  if (path.extension() == ".model") {
    const std::string bytes = read_text_file(path);
    return text::Tokenizer::from_json(text::tokenizer_json_from_sentencepiece(std::as_bytes(std::span(bytes)), model));
  }
  if (path.extension() == ".json") return text::Tokenizer::from_text(read_text_file(path), model);
  const frontend::Checkpoint checkpoint = frontend::Checkpoint::open(path);
  const auto it = checkpoint.assets().find("tokenizer.json");
  if (it == checkpoint.assets().end()) {
    fail(ErrorCode::unsupported, "\"{}\" has no tokenizer{}", model, tokenizer_problem(checkpoint));
  }
  return text::Tokenizer::from_text(it->second, model);
}

Json read_stdin_list() {
  const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
  Json list = parse_json(text, "standard input");
  if (!list.is_array()) fail(ErrorCode::invalid_input, "standard input: expected a list, found {}", list.type_name());
  return list;
}

}  // namespace lathe::cli
