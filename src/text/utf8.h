// UTF-8 and the few Unicode character classes that tokenizers need.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lathe::text {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

enum class Utf8Status : uint8_t {
  valid,       // one character of `size` bytes
  invalid,     // `size` bytes that no character starts with (a maximal invalid subpart)
  incomplete,  // the text ends inside a character; `size` bytes of it are there
};

struct Utf8Step {
  Utf8Status status;
  uint8_t size;
  uint32_t code_point;  // set when valid
};

// What the bytes at the start of `text` (not empty) are. Overlong forms, surrogates and values above
// U+10FFFF are invalid.
Utf8Step next_utf8(std::string_view text);

// Number of bytes of the longest valid prefix; text.size() means that all of it is valid UTF-8.
size_t valid_utf8_prefix(std::string_view text);

// The code point at `position` of text known to be valid; moves `position` behind it.
uint32_t take_code_point(std::string_view valid_text, size_t& position);
// Start of the character that ends at `end` (> 0) of text known to be valid.
size_t previous_character(std::string_view valid_text, size_t end);

void append_utf8(std::string& out, uint32_t code_point);

// Appends `bytes` with every maximal invalid subpart replaced by U+FFFD (Unicode 15, 3.9, D93b; what most
// languages do in a lossy conversion). With `keep_incomplete` a character cut at the end is not appended.
// Returns the number of bytes consumed.
size_t append_lossy(std::string& out, std::string_view bytes, bool keep_incomplete = false);

bool is_whitespace(uint32_t code_point);   // White_Space
bool is_numeric(uint32_t code_point);      // general category N
bool is_punctuation(uint32_t code_point);  // general category P, or ASCII punctuation
bool is_word(uint32_t code_point);         // UTS 18 \w: Alphabetic, M, Nd, Pc, Join_Control

}  // namespace lathe::text
