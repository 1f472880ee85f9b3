// A regular expression being read: where it stands, and what its single characters mean.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace lathe::op {

inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern);
  PatternReader(const PatternReader&) = delete;

 protected:
  [[noreturn]] void refuse(std::string_view why) const;
  bool at_end() const { return at_ >= pattern_.size(); }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  // Goes past `text` if it is next.
  bool take(std::string_view text);
  int32_t take_code_point();
  // Goes past digits, if there are any; numbers beyond 2^20 count as that.
  bool take_number(int64_t& value);
  // After a backslash: the character that it stands for.
  int32_t character_escape();

 private:
  int32_t hexadecimal();
  const std::string text_;

 protected:
  const std::string_view pattern_;  // with \Q...\E spelled as escapes
  size_t at_ = 0;
};

}  // namespace lathe::op
