#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace lathe::text {
namespace {

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

// Bytes that are not printable take U+0100, U+0101, ... in order.
constexpr std::array<uint16_t, 256> make_characters() {
  std::array<uint16_t, 256> characters{};
  uint16_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte)
    characters[size_t(byte)] = is_printable(byte) ? uint16_t(byte) : next++;
  return characters;
}
constexpr std::array<uint16_t, 256> kCharacters = make_characters();
constexpr uint32_t kCharacterLimit = 0x100 + 256 - 188;  // 188 bytes are printable
static_assert(kCharacters[0xAD] == kCharacterLimit - 1);

constexpr std::array<int16_t, kCharacterLimit> make_bytes() {
  std::array<int16_t, kCharacterLimit> bytes{};
  bytes.fill(-1);
  for (int byte = 0; byte < 256; ++byte) bytes[kCharacters[size_t(byte)]] = int16_t(byte);
  return bytes;
}
constexpr std::array<int16_t, kCharacterLimit> kBytes = make_bytes();

}  // namespace

uint32_t byte_level_character(uint8_t byte) {
  return kCharacters[byte];
}

void append_byte_level(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) append_utf8(out, kCharacters[uint8_t(byte)]);
}

void append_byte_level_decoded(std::string& out, std::string_view token) {
  const size_t before = out.size();
  for (size_t at = 0; at < token.size();) {
    const uint32_t character = take_code_point(token, at);
    if (character >= kCharacterLimit || kBytes[character] < 0) {
      out.resize(before);
      out += token;
      return;
    }
    out += char(kBytes[character]);
  }
}

}  // namespace lathe::text
