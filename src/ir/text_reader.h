// Reading graph text token by token.
#pragma once

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "ir/literals.h"

namespace lathe::ir {

// A position in a text that outlives it. Everything throws invalid_input when the text does not go on as asked.
class TextReader {
 public:
  explicit TextReader(std::string_view text) : text_(text) {}

  int line() const { return line_; }

 protected:
  // `word` and `name` skip blanks first and are never empty (a quoted name may be).
  void skip_space();     // and comments
  std::string string();  // in quotes, escapes resolved
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  // For messages.
  std::string next_text() const { return at_ < text_.size() ? fmt::format("'{}'", text_[at_]) : "the end"; }

  bool accept(char c) {
    skip_space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (accept(c)) return;
    fail(ErrorCode::invalid_input, "expected '{}', found {}", c, next_text());
  }

  void expect_word(std::string_view expected) {
    const std::string found = word();
    if (found != expected) fail(ErrorCode::invalid_input, "expected \"{}\", found \"{}\"", expected, found);
  }

  std::string_view take(bool (*belongs)(char)) {
    const size_t start = at_;
    while (at_ < text_.size() && belongs(text_[at_])) ++at_;
    return text_.substr(start, at_ - start);
  }

  std::string_view name_token() { return take(is_name_char); }

  std::string_view number_token() {
    skip_space();
    const std::string_view token = take([](char c) { return is_name_char(c) || c == '+'; });
    if (token.empty()) fail(ErrorCode::invalid_input, "expected a value, found {}", next_text());
    return token;
  }

  std::string word() {
    skip_space();
    const std::string_view token = name_token();
    if (token.empty()) fail(ErrorCode::invalid_input, "expected a word, found {}", next_text());
    return std::string(token);
  }

  std::string name() {
    skip_space();
    return peek() == '"' ? string() : word();
  }

  template <class T>
  static std::optional<T> as(std::string_view token) {
    T value{};
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), value);
    if (error != std::errc{} || end != token.data() + token.size()) return std::nullopt;
    return value;
  }

  template <class T>
  T number(std::string_view expected) {
    const std::string_view token = number_token();
    const auto value = as<T>(token);
    if (!value) fail(ErrorCode::invalid_input, "expected {}, found \"{}\"", expected, token);
    return *value;
  }

  std::string_view text_;
  size_t at_ = 0;

 private:
  char escaped();

  int line_ = 1;
};

}  // namespace lathe::ir
