#include "text/utf8.h"

#include <utf8proc.h>

namespace lathe::text {
namespace {

// Bytes expected after the lead byte, and the range allowed for the first of them (Unicode 15, table 3-7).
struct LeadByte {
  int following;
  uint8_t low = 0x80, high = 0xBF;
};

LeadByte classify(uint8_t lead) {
  if (lead >= 0xC2 && lead <= 0xDF) return {1};
  if (lead == 0xE0) return {2, 0xA0, 0xBF};
  if (lead == 0xED) return {2, 0x80, 0x9F};
  if (lead >= 0xE1 && lead <= 0xEF) return {2};
  if (lead == 0xF0) return {3, 0x90, 0xBF};
  if (lead >= 0xF1 && lead <= 0xF3) return {3};
  if (lead == 0xF4) return {3, 0x80, 0x8F};
  return {-1};
}

bool is_ascii_letter_or_digit(uint32_t c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

// Other_Alphabetic characters that are neither letters, marks nor numbers: circled and squared letters.
bool is_alphabetic_symbol(uint32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

}  // namespace

Utf8Step next_utf8(std::string_view text) {
  const uint8_t lead = uint8_t(text[0]);
  if (lead < 0x80) return {Utf8Status::valid, 1, lead};
  const LeadByte kind = classify(lead);
  if (kind.following < 0) return {Utf8Status::invalid, 1, 0};
  uint32_t code_point = lead & (0x3F >> kind.following);
  for (int i = 1; i <= kind.following; ++i) {
    if (size_t(i) >= text.size()) return {Utf8Status::incomplete, uint8_t(i), 0};
    const uint8_t byte = uint8_t(text[size_t(i)]);
    const bool allowed = i == 1 ? byte >= kind.low && byte <= kind.high : (byte & 0xC0) == 0x80;
    if (!allowed) return {Utf8Status::invalid, uint8_t(i), 0};
    code_point = (code_point << 6) | (byte & 0x3F);
  }
  return {Utf8Status::valid, uint8_t(kind.following + 1), code_point};
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t position = 0;
  while (position < text.size()) {
    if (uint8_t(text[position]) < 0x80) {
      ++position;
      continue;
    }
    const Utf8Step step = next_utf8(text.substr(position));
    if (step.status != Utf8Status::valid) return position;
    position += step.size;
  }
  return position;
}

uint32_t take_code_point(std::string_view valid_text, size_t& position) {
  const uint8_t lead = uint8_t(valid_text[position]);
  if (lead < 0x80) {
    ++position;
    return lead;
  }
  const Utf8Step step = next_utf8(valid_text.substr(position));
  position += step.size;
  return step.code_point;
}

size_t previous_character(std::string_view valid_text, size_t end) {
  --end;
  while (end > 0 && (uint8_t(valid_text[end]) & 0xC0) == 0x80) --end;
  return end;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += char(0xC0 | (c >> 6));
    out += char(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += char(0xE0 | (c >> 12));
    out += char(0x80 | ((c >> 6) & 0x3F));
    out += char(0x80 | (c & 0x3F));
  } else {
    out += char(0xF0 | (c >> 18));
    out += char(0x80 | ((c >> 12) & 0x3F));
    out += char(0x80 | ((c >> 6) & 0x3F));
    out += char(0x80 | (c & 0x3F));
  }
}

size_t append_lossy(std::string& out, std::string_view bytes, bool keep_incomplete) {
  size_t position = 0;
  while (position < bytes.size()) {
    const size_t valid = valid_utf8_prefix(bytes.substr(position));
    out.append(bytes, position, valid);
    position += valid;
    if (position == bytes.size()) break;
    const Utf8Step step = next_utf8(bytes.substr(position));
    if (step.status == Utf8Status::incomplete && keep_incomplete) break;
    out += kReplacement;
    position += step.size;
  }
  return position;
}

bool is_whitespace(uint32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(uint32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7F && !is_ascii_letter_or_digit(c);
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_word(uint32_t c) {
  if (c < 0x80) return c == '_' || is_ascii_letter_or_digit(c);
  if (c == 0x200C || c == 0x200D || is_alphabetic_symbol(c)) return true;
  const utf8proc_category_t category = utf8proc_category(utf8proc_int32_t(c));
  return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC;
}

}  // namespace lathe::text
