// GPT-2's reversible mapping between bytes and printable characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lathe::text {

// The character that stands for `byte`: itself if it is printable Latin-1, else one from U+0100 on.
uint32_t byte_level_character(uint8_t byte);
// Appends the characters for all `bytes`, as UTF-8.
void append_byte_level(std::string& out, std::string_view bytes);
// Appends the bytes that `token` stands for; a token with any other character stands for its own bytes.
void append_byte_level_decoded(std::string& out, std::string_view token);

}  // namespace lathe::text
