#include "op/re2_reader.h"

#include <utf8proc.h>

#include <algorithm>

namespace lathe::op {
namespace {

bool is_octal(char c) {
  return c >= '0' && c <= '7';
}

// The pattern with \Q...\E spelled as escapes.
std::string without_quotes(std::string_view pattern) {
  std::string result;
  for (size_t at = 0; at < pattern.size();) {
    if (!pattern.substr(at).starts_with("\\Q")) {
      const size_t length = pattern[at] == '\\' ? 2 : 1;
      result += pattern.substr(at, length);
      at += length;
      continue;
    }
    const size_t end = std::min(pattern.find("\\E", at + 2), pattern.size());
    for (const char c : pattern.substr(at + 2, end - at - 2)) {
      if (static_cast<unsigned char>(c) < 0x80 && !is_letter(c) && !is_digit(c)) result += '\\';
      result += c;
    }
    at = end + 2;
  }
  return result;
}

}  // namespace

PatternReader::PatternReader(std::string_view pattern) : text_(without_quotes(pattern)), pattern_(text_) {}

void PatternReader::refuse(std::string_view why) const {
  fail(ErrorCode::invalid_input, "RegexFullMatch: pattern \"{}\" at {}: {}", pattern_, at_, why);
}

bool PatternReader::take(std::string_view text) {
  if (!next_is(text)) return false;
  at_ += text.size();
  return true;
}

int32_t PatternReader::take_code_point() {
  int32_t c = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(pattern_.data()) + at_;
  const auto length = utf8proc_iterate(bytes, utf8proc_ssize_t(pattern_.size() - at_), &c);
  if (length <= 0) refuse(at_end() ? "unexpected end" : "not UTF-8");
  at_ += size_t(length);
  return c;
}

bool PatternReader::take_number(int64_t& value) {
  if (at_end() || !is_digit(pattern_[at_])) return false;
  value = 0;
  while (!at_end() && is_digit(pattern_[at_])) value = std::min<int64_t>(value * 10 + (pattern_[at_++] - '0'), 1 << 20);
  return true;
}

int32_t PatternReader::character_escape() {
  if (at_end()) refuse("a backslash at the end");
  if (static_cast<unsigned char>(pattern_[at_]) >= 0x80) refuse("unknown escape");
  const char c = pattern_[at_++];
  constexpr std::string_view kNames = "aftnrv", kValues = "\a\f\t\n\r\v";
  if (const size_t i = kNames.find(c); i != std::string_view::npos) return kValues[i];
  if (c == 'x') return hexadecimal();
  // \0 to \7 begin an octal number of up to three digits; a lone digit but 0 would refer to a group.
  if (c == '0' || (is_octal(c) && !at_end() && is_octal(pattern_[at_]))) {
    int32_t value = c - '0';
    for (int i = 0; i < 2 && !at_end() && is_octal(pattern_[at_]); ++i) value = value * 8 + (pattern_[at_++] - '0');
    return value;
  }
  if (is_letter(c) || is_digit(c)) refuse("unknown escape");
  return c;
}

// After \x: two digits, or any number of them in braces.
int32_t PatternReader::hexadecimal() {
  const bool braces = take("{");
  int32_t value = 0;
  int digits = 0;
  for (; !at_end() && (braces || digits < 2); ++digits, ++at_) {
    const char c = pattern_[at_];
    const int digit = is_digit(c) ? c - '0' : is_letter(c) ? (c | 32) - 'a' + 10 : 16;
    if (digit > 15) break;
    value = value * 16 + digit;
    if (value > 0x10FFFF) refuse("beyond Unicode");
  }
  if (braces ? digits == 0 || !take("}") : digits != 2) refuse("bad hexadecimal escape");
  return value;
}

}  // namespace lathe::op
