// EXIF with nothing but a user comment, where programs put the settings of JPEG and WebP pictures.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lathe::image {

// The TIFF structure (without "Exif\0\0" before it), big endian, the comment in UTF-16 as EXIF's UNICODE has it. Throws
// invalid_input for text that is not UTF-8.
std::string make_exif(std::string_view comment);

// The user comment as UTF-8: of either byte order, in UTF-16, ASCII or without a named code. None where there is none
// or where the structure is damaged; characters that are none become U+FFFD.
std::optional<std::string> find_exif_comment(std::span<const std::byte> tiff);

}  // namespace lathe::image
