#include "image/picture_text.h"

#include <cstring>

#include "image/encode.h"
#include "image/exif.h"
#include "image/formats.h"

namespace lathe::image {
namespace {

using namespace std::string_view_literals;

constexpr auto kExif = "Exif\0\0"sv;

bool starts_with(Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// The EXIF of a JPEG: in a segment before the picture's data. Empty: none.
Bytes exif_of_jpeg(Bytes file) {
  constexpr uint8_t kApp1 = 0xE1, kScan = 0xDA;
  for (size_t at = 2; at + 4 <= file.size() && file[at] == std::byte{0xFF};) {
    const auto marker = uint8_t(file[at + 1]);
    if (marker == kScan) break;
    const size_t length = size_t(file[at + 2]) << 8 | size_t(file[at + 3]);  // its own two bytes included
    if (length < 2 || length > file.size() - at - 2) break;
    const Bytes segment = file.subspan(at + 4, length - 2);
    if (marker == kApp1 && starts_with(segment, kExif)) return segment.subspan(kExif.size());
    at += 2 + length;
  }
  return {};
}

// The EXIF of a WebP: a chunk of its own. Some programs put JPEG's mark before it.
Bytes exif_of_webp(Bytes file) {
  for (size_t at = 12; at + 8 <= file.size();) {
    size_t length = 0;
    for (size_t i = 0; i < 4; ++i) length |= size_t(file[at + 4 + i]) << 8 * i;
    if (length > file.size() - at - 8) break;
    const Bytes chunk = file.subspan(at + 8, length);
    if (starts_with(file.subspan(at), "EXIF")) return starts_with(chunk, kExif) ? chunk.subspan(kExif.size()) : chunk;
    at += 8 + length + length % 2;
  }
  return {};
}

}  // namespace

std::optional<std::string> find_picture_text(Bytes file) {
  if (starts_with(file, "\x89PNG")) {
    for (PngText& text : read_png_texts(file)) {
      if (text.key == "parameters") return std::move(text.value);
    }
    return std::nullopt;
  }
  if (starts_with(file, "\xff\xd8")) return find_exif_comment(exif_of_jpeg(file));
  if (starts_with(file, "RIFF")) return find_exif_comment(exif_of_webp(file));
  return std::nullopt;
}

}  // namespace lathe::image
