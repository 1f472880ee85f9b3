#include "text/jinja_lexer.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::text::jinja {
namespace {

constexpr size_t kMaxTokens = 1 << 20;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || uint8_t(c) >= 0x80;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) {
    // Jinja makes all line ends "\n"
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] == '\r') {
        source_ += '\n';
        if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      } else {
        source_ += source[i];
      }
    }
    if (source_.ends_with('\n')) source_.pop_back();
    in_ = source_;
  }

  std::vector<Token> run() {
    while (at_ < in_.size()) {
      const size_t open = find_open();
      text_until(open);
      if (open == in_.size()) break;
      const char kind = in_[open + 1];
      at_ = open + 2;
      if (at_ < in_.size() && (in_[at_] == '-' || in_[at_] == '+')) ++at_;
      if (kind == '#') {
        comment();
      } else if (kind == '%' && raw_block()) {
        continue;
      } else {
        push(kind == '{' ? Token::Kind::output_begin : Token::Kind::block_begin, "");
        code(kind == '{' ? "}}" : "%}");
      }
    }
    push(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void bad(std::string_view message) const {
    fail(ErrorCode::invalid_input, "chat template, line {}: {}", line_, message);
  }

  void push(Token::Kind kind, std::string text) {
    if (tokens_.size() >= kMaxTokens)
      fail(ErrorCode::resource, "chat template: more than {} tokens", kMaxTokens);
    tokens_.push_back({kind, std::move(text), line_});
  }

  size_t find_open() const {
    for (size_t at = in_.find('{', at_); at != in_.npos; at = in_.find('{', at + 1)) {
      if (at + 1 < in_.size() && (in_[at + 1] == '{' || in_[at + 1] == '%' || in_[at + 1] == '#')) return at;
    }
    return in_.size();
  }

  // Emits the text up to a delimiter at `open`, with the white space that it strips away.
  void text_until(size_t open) {
    std::string_view text = in_.substr(at_, open - at_);
    line_ += int(std::count(text.begin(), text.end(), '\n'));
    if (open < in_.size()) {
      const char sign = open + 2 < in_.size() ? in_[open + 2] : '\0';
      if (sign == '-') {
        strip_right(text);
      } else if (sign != '+' && in_[open + 1] != '{') {
        lstrip_block(text);
      }
    }
    if (!text.empty()) push(Token::Kind::text, std::string(text));
    at_ = open;
  }

  static void strip_right(std::string_view& text) {
    while (!text.empty()) {
      const size_t last = previous_character(text, text.size());
      size_t at = last;
      const uint32_t c = take_code_point(text, at);
      if (!is_whitespace(c) && (c < 0x1C || c > 0x1F)) break;  // Python's isspace has four controls more
      text = text.substr(0, last);
    }
  }

  // lstrip_blocks: blanks between the start of a line and a block go.
  void lstrip_block(std::string_view& text) const {
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == text.npos ? 0 : newline + 1;
    if (line_start == 0 && !at_line_start_) return;
    std::string_view line = text.substr(line_start);
    strip_right(line);
    if (line.empty()) text = text.substr(0, line_start);
  }

  // Behind a closing delimiter: "-" strips all white space, blocks and comments also one newline
  // (trim_blocks).
  void after_close(bool minus, bool plus, bool block) {
    at_line_start_ = false;
    if (minus) {
      while (at_ < in_.size()) {
        size_t next = at_;
        const uint32_t c = take_code_point(in_, next);
        if (!is_whitespace(c) && (c < 0x1C || c > 0x1F)) break;
        if (c == '\n') ++line_;
        at_ = next;
      }
      // what follows is a line's start if the last thing stripped was a newline
      at_line_start_ = at_ > 0 && in_[at_ - 1] == '\n';
    } else if (block && !plus && at_ < in_.size() && in_[at_] == '\n') {
      ++at_;
      ++line_;
      at_line_start_ = true;
    }
  }

  void comment() {
    const size_t close = in_.find("#}", at_);
    if (close == in_.npos) bad("comment without end");
    line_ += int(std::count(in_.begin() + std::ptrdiff_t(at_), in_.begin() + std::ptrdiff_t(close), '\n'));
    const char sign = close > at_ ? in_[close - 1] : '\0';
    at_ = close + 2;
    after_close(sign == '-', sign == '+', true);
  }

  // {% raw %} ... {% endraw %}: its content is text. Returns false, with nothing taken, for other blocks.
  bool raw_block() {
    size_t at = at_;
    const auto blanks = [&] {
      while (at < in_.size() && (in_[at] == ' ' || in_[at] == '\t' || in_[at] == '\n')) ++at;
    };
    const auto word = [&](std::string_view expected) {
      blanks();
      if (!in_.substr(at).starts_with(expected)) return false;
      at += expected.size();
      blanks();
      return true;
    };
    bool minus = false, plus = false;
    const auto close = [&] {
      minus = at < in_.size() && in_[at] == '-';
      plus = at < in_.size() && in_[at] == '+';
      if (minus || plus) ++at;
      return in_.substr(at).starts_with("%}");
    };
    if (!word("raw") || !close() || plus) return false;
    at_ = at + 2;
    after_close(minus, false, false);  // trim_blocks leaves the newline behind {% raw %}
    for (size_t open = in_.find("{%", at_); open != in_.npos; open = in_.find("{%", open + 2)) {
      at = open + 2;
      if (at < in_.size() && (in_[at] == '-' || in_[at] == '+')) ++at;
      if (!word("endraw") || !close()) continue;
      const size_t after = at + 2;
      text_until(open);
      at_ = after;
      after_close(minus, plus, true);
      return true;
    }
    bad("raw without endraw");
  }

  // Tokens up to the closing delimiter.
  void code(std::string_view close) {
    int depth = 0;  // of brackets: inside them "}}" may close two dicts
    while (true) {
      while (at_ < in_.size() && (in_[at_] == ' ' || in_[at_] == '\t' || in_[at_] == '\n'))
        line_ += in_[at_++] == '\n';
      if (at_ >= in_.size()) bad("template ends inside a tag");
      const std::string_view rest = in_.substr(at_);
      if (depth == 0) {
        const bool sign = rest[0] == '-' || (rest[0] == '+' && close == "%}");
        if (rest.substr(sign ? 1 : 0).starts_with(close)) {
          at_ += close.size() + (sign ? 1 : 0);
          push(close == "}}" ? Token::Kind::output_end : Token::Kind::block_end, "");
          return after_close(rest[0] == '-', rest[0] == '+', close == "%}");
        }
      }
      if (rest[0] == '(' || rest[0] == '[' || rest[0] == '{') ++depth;
      if (rest[0] == ')' || rest[0] == ']' || rest[0] == '}') depth = std::max(0, depth - 1);
      token(rest);
    }
  }

  void token(std::string_view rest) {
    if (rest[0] == '"' || rest[0] == '\'') return string(rest[0]);
    if (is_digit(rest[0])) return number(rest);
    if (is_name_start(rest[0])) {
      size_t size = 1;
      while (size < rest.size() && (is_name_start(rest[size]) || is_digit(rest[size]))) ++size;
      push(Token::Kind::name, std::string(rest.substr(0, size)));
      at_ += size;
      return;
    }
    static constexpr std::array<std::string_view, 25> kSymbols = {
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
        ">",  "(",  ")",  "[",  "]",  "{",  "}", ".", ",", ":", "|", "="};
    for (const std::string_view symbol : kSymbols) {
      if (rest.starts_with(symbol)) {
        push(Token::Kind::symbol, std::string(symbol));
        at_ += symbol.size();
        return;
      }
    }
    bad(fmt::format("unexpected character \"{}\"", rest[0]));
  }

  void number(std::string_view rest) {
    std::string text;
    size_t size = 0;
    const auto digits = [&] {
      while (size < rest.size() && (is_digit(rest[size]) || rest[size] == '_')) {
        if (rest[size] != '_') text += rest[size];
        ++size;
      }
    };
    digits();
    bool is_float = false;
    if (size + 1 < rest.size() && rest[size] == '.' && is_digit(rest[size + 1])) {
      is_float = true;
      text += rest[size++];
      digits();
    }
    const size_t sign = size + 1 < rest.size() && (rest[size + 1] == '+' || rest[size + 1] == '-') ? 1 : 0;
    if (size + 1 + sign < rest.size() && (rest[size] == 'e' || rest[size] == 'E') &&
        is_digit(rest[size + 1 + sign])) {
      is_float = true;
      text += rest.substr(size, 1 + sign);
      size += 1 + sign;
      digits();
    }
    push(is_float ? Token::Kind::number : Token::Kind::integer, std::move(text));
    at_ += size;
  }

  void string(char quote) {
    std::string text;
    const int begin_line = line_;
    size_t at = at_ + 1;
    for (; at < in_.size() && in_[at] != quote; ++at) {
      if (in_[at] == '\n') ++line_;
      if (in_[at] != '\\') {
        text += in_[at];
        continue;
      }
      if (++at >= in_.size()) break;
      escape(text, at);
    }
    if (at >= in_.size()) bad("string without end");
    tokens_.push_back({Token::Kind::string, std::move(text), begin_line});
    at_ = at + 1;
  }

  // Python's escapes; `at` is on the character behind the backslash, and is left on the last one taken.
  void escape(std::string& out, size_t& at) {
    const auto hex = [&](size_t count) {
      uint32_t value = 0;
      for (size_t i = 0; i < count; ++i) {
        const char c = at + 1 < in_.size() ? in_[++at] : '\0';
        const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!is_digit(c) && !letter) bad("bad escape in a string");
        value = value * 16 + uint32_t(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) bad("bad code point in a string");
      append_utf8(out, value);
    };
    switch (in_[at]) {
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'r':
        out += '\r';
        break;
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'v':
        out += '\v';
        break;
      case 'a':
        out += '\a';
        break;
      case '0':
        out += '\0';
        break;
      case '\n':
        break;
      case '\\':
      case '\'':
      case '"':
        out += in_[at];
        break;
      case 'x':
        hex(2);
        break;
      case 'u':
        hex(4);
        break;
      case 'U':
        hex(8);
        break;
      default:
        out += '\\';
        out += in_[at];
    }
  }

  std::string source_;
  std::string_view in_;
  size_t at_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;  // at_ is where a line begins, as far as lstrip_blocks is concerned
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize_template(std::string_view source) {
  if (valid_utf8_prefix(source) != source.size()) fail(ErrorCode::invalid_input, "chat template: not UTF-8");
  return Lexer(source).run();
}

}  // namespace lathe::text::jinja
