#include "text/tokenizer_source.h"

#include <charconv>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

constexpr int kMaxDepth = 256;

std::pair<std::string_view, std::string_view> split_merge(std::string_view merge) {
  const size_t space = merge.find(' ');
  if (space == std::string_view::npos || merge.find(' ', space + 1) != std::string_view::npos) {
    fail(ErrorCode::invalid_input, "merge \"{}\": expected two tokens with one space between them", merge);
  }
  return {merge.substr(0, space), merge.substr(space + 1)};
}

// A cursor over JSON text that is known to be UTF-8. It checks what it takes itself; spans that it skips are
// checked later by parse_json.
class Scanner {
 public:
  Scanner(std::string_view text, std::string_view name, TokenizerSource& source)
      : text_(text), name_(name), source_(source) {}

  void document() {
    std::string rest = "{";
    members([&](std::string_view raw_key, std::string_view key) {
      if (key == "model" && peek() == '{') {
        append_member(rest, raw_key, model());
      } else {
        append_member(rest, raw_key, skip_value());
      }
    });
    blanks();
    if (at_ != text_.size()) bad("end of text");
    rest += '}';
    source_.config = parse_json(rest, name_);
  }

 private:
  [[noreturn]] void bad(std::string_view expected) const {
    fail(ErrorCode::invalid_input, "{}: not valid JSON: expected {} at byte {}", name_, expected, at_);
  }

  void blanks() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  char peek() {
    blanks();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  void expect(char c) {
    if (peek() != c) bad(std::string_view(&c, 1));
    ++at_;
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }

  static void append_member(std::string& out, std::string_view raw_key, std::string_view value) {
    if (out.size() > 1) out += ',';
    out += raw_key;
    out += ':';
    out += value;
  }

  // Calls visit(key as written, key) before each value of an object.
  template <class Visit>
  void members(Visit&& visit) {
    expect('{');
    if (accept('}')) return;
    do {
      blanks();
      const size_t begin = at_;
      const std::string_view key = string();
      const std::string_view raw = text_.substr(begin, at_ - begin);
      expect(':');
      visit(raw, key);
    } while (accept(','));
    expect('}');
  }

  template <class Visit>
  void elements(Visit&& visit) {
    expect('[');
    if (accept(']')) return;
    do {
      visit();
    } while (accept(','));
    expect(']');
  }

  // The model object without the members that are taken; the view lives in source_.strings.
  std::string_view model() {
    std::string rest = "{";
    members([&](std::string_view raw_key, std::string_view key) {
      if (key == "vocab" && peek() == '{') {
        if (source_.has_vocab) fail(ErrorCode::invalid_input, "{}: two vocabularies", name_);
        source_.has_vocab = true;
        members(
            [&](std::string_view, std::string_view token) { source_.vocab.emplace_back(token, integer()); });
      } else if (key == "merges" && peek() == '[') {
        if (source_.has_merges) fail(ErrorCode::invalid_input, "{}: two lists of merges", name_);
        source_.has_merges = true;
        elements([&] { source_.merges.push_back(merge()); });
      } else {
        append_member(rest, raw_key, skip_value());
      }
    });
    rest += '}';
    source_.strings.push_back(std::move(rest));
    return source_.strings.back();
  }

  std::pair<std::string_view, std::string_view> merge() {
    if (peek() == '"') return split_merge(string());
    expect('[');
    const std::string_view left = string();
    expect(',');
    const std::string_view right = string();
    expect(']');
    return {left, right};
  }

  int64_t integer() {
    blanks();
    int64_t value = 0;
    const char* end = text_.data() + text_.size();
    const auto [after, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc()) bad("an integer");
    at_ = size_t(after - text_.data());
    return value;
  }

  std::string_view string() {
    expect('"');
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' && uint8_t(text_[at_]) >= 0x20)
      ++at_;
    if (at_ >= text_.size()) bad("the end of a string");
    if (text_[at_] == '"') return text_.substr(begin, at_++ - begin);
    std::string unescaped(text_.substr(begin, at_ - begin));
    while (at_ < text_.size() && text_[at_] != '"') {
      if (uint8_t(text_[at_]) < 0x20) bad("no control character in a string");
      if (text_[at_] == '\\') {
        escape(unescaped);
      } else {
        unescaped += text_[at_++];
      }
    }
    if (at_ >= text_.size()) bad("the end of a string");
    ++at_;
    source_.strings.push_back(std::move(unescaped));
    return source_.strings.back();
  }

  void escape(std::string& out) {
    if (at_ + 1 >= text_.size()) bad("an escape");
    const char kind = text_[at_ + 1];
    at_ += 2;
    switch (kind) {
      case '"':
      case '\\':
      case '/':
        out += kind;
        return;
      case 'b':
        out += '\b';
        return;
      case 'f':
        out += '\f';
        return;
      case 'n':
        out += '\n';
        return;
      case 'r':
        out += '\r';
        return;
      case 't':
        out += '\t';
        return;
      case 'u':
        break;
      default:
        bad("an escape");
    }
    uint32_t unit = hex4();
    if (unit >= 0xD800 && unit < 0xDC00) {
      if (text_.substr(at_, 2) != "\\u") bad("the second half of a surrogate pair");
      at_ += 2;
      const uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) bad("the second half of a surrogate pair");
      unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
    } else if (unit >= 0xDC00 && unit <= 0xDFFF) {
      bad("the first half of a surrogate pair");
    }
    append_utf8(out, unit);
  }

  uint32_t hex4() {
    uint32_t value = 0;
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
    const auto [after, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc() || after != digits.data() + 4)
      bad("four hexadecimal digits");
    at_ += 4;
    return value;
  }

  std::string_view skip_value() {
    blanks();
    const size_t begin = at_;
    int depth = 0;
    do {
      const char c = peek();
      if (c == '"') {
        skip_string();
      } else if (c == '{' || c == '[') {
        if (++depth > kMaxDepth)
          fail(ErrorCode::invalid_input, "{}: JSON nested deeper than {}", name_, kMaxDepth);
        ++at_;
      } else if (c == '}' || c == ']') {
        if (--depth < 0) bad("a value");
        ++at_;
      } else if (at_ >= text_.size() || (depth == 0 && (c == ',' || c == ':'))) {
        bad("a value");
      } else if (c == ',' || c == ':') {
        ++at_;
      } else {
        while (at_ < text_.size() &&
               std::string_view(" \n\r\t,:{}[]\"").find(text_[at_]) == std::string_view::npos)
          ++at_;
      }
    } while (depth > 0);
    return text_.substr(begin, at_ - begin);
  }

  void skip_string() {
    ++at_;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    if (at_ >= text_.size()) bad("the end of a string");
    ++at_;
  }

  std::string_view text_;
  std::string_view name_;
  TokenizerSource& source_;
  size_t at_ = 0;
};

std::pair<std::string_view, std::string_view> merge_of(const Json& merge) {
  if (merge.is_string()) return split_merge(merge.get_ref<const std::string&>());
  if (!merge.is_array() || merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) {
    fail(ErrorCode::invalid_input, "merge {}: expected a string or two strings", merge.dump());
  }
  return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
}

}  // namespace

TokenizerSource read_tokenizer_source(std::string_view text, std::string_view name) {
  const size_t valid = valid_utf8_prefix(text);
  if (valid != text.size()) fail(ErrorCode::invalid_input, "{}: byte {} is not UTF-8", name, valid);
  TokenizerSource source;
  Scanner(text, name, source).document();
  return source;
}

TokenizerSource read_tokenizer_source(const Json& tokenizer) {
  TokenizerSource source;
  source.config = Json::object();
  if (!tokenizer.is_object()) fail(ErrorCode::invalid_input, "tokenizer.json: expected an object");
  for (const auto& [key, value] : tokenizer.items()) {
    if (key != "model" || !value.is_object()) {
      source.config[key] = value;
      continue;
    }
    Json& model = source.config["model"] = Json::object();
    for (const auto& [model_key, member] : value.items()) {
      if (model_key == "vocab" && member.is_object()) {
        source.has_vocab = true;
        for (const auto& entry : member.get_ref<const Json::object_t&>()) {
          if (!entry.second.is_number_integer()) {
            fail(ErrorCode::invalid_input, "token \"{}\": expected an integer id", entry.first);
          }
          source.vocab.emplace_back(entry.first, entry.second.get<int64_t>());
        }
      } else if (model_key == "merges" && member.is_array()) {
        source.has_merges = true;
        for (const Json& merge : member) source.merges.push_back(merge_of(merge));
      } else {
        model[model_key] = member;
      }
    }
  }
  return source;
}

}  // namespace lathe::text
