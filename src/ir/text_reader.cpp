#include "ir/text_reader.h"

namespace lathe::ir {

void TextReader::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (text_.substr(at_, 2) == "//") {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '\n') {
      ++line_;
      ++at_;
    } else if (c == ' ' || c == '\t' || c == '\r') {
      ++at_;
    } else {
      return;
    }
  }
}

std::string TextReader::string() {
  expect('"');
  std::string out;
  while (at_ < text_.size() && text_[at_] != '"') {
    const char c = text_[at_++];
    if (c == '\n') fail(ErrorCode::invalid_input, "a string ends at its line's end");
    out += c == '\\' ? escaped() : c;
  }
  if (at_ >= text_.size()) fail(ErrorCode::invalid_input, "expected '\"', found the end");
  ++at_;
  return out;
}

char TextReader::escaped() {
  const char c = peek();
  ++at_;
  if (c == 'n') return '\n';
  if (c == 't') return '\t';
  if (c == '"' || c == '\\') return c;
  unsigned byte = 0;
  const std::string_view digits = at_ < text_.size() ? text_.substr(at_, 2) : std::string_view();
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
  if (c != 'x' || error != std::errc{} || digits.size() != 2 || end != digits.data() + 2) {
    fail(ErrorCode::invalid_input, "unknown escape \\{}", c);
  }
  at_ += 2;
  return char(byte);
}

}  // namespace lathe::ir
