// WebP writing by libwebp.
#include <webp/encode.h>

#include <memory>

#include "image/encode.h"
#include "image/exif.h"
#include "image/formats.h"

namespace lathe::image {
namespace {

void put(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += char(value >> 8 * i & 0xFF);
}

void put_chunk(std::string& out, std::string_view name, std::string_view content) {
  out += name;
  put(out, uint32_t(content.size()), 4);
  out += content;
  if (content.size() % 2) out += '\0';
}

// A plain file, which is one chunk in a RIFF, as an extended one: a header that says what follows, the picture, EXIF.
std::string with_exif(std::string_view plain, int64_t width, int64_t height, const std::string& exif) {
  constexpr size_t kRiffHeader = 12;
  constexpr uint32_t kHasExif = 8;
  std::string header;
  put(header, kHasExif, 4);
  put(header, uint32_t(width - 1), 3);
  put(header, uint32_t(height - 1), 3);
  std::string chunks = "WEBP";
  put_chunk(chunks, "VP8X", header);
  chunks += plain.substr(kRiffHeader);
  put_chunk(chunks, "EXIF", exif);
  std::string file = "RIFF";
  put(file, uint32_t(chunks.size()), 4);
  return file + chunks;
}

}  // namespace

std::string encode_webp(const Image& image, int quality, std::string_view text) {
  if (quality < 1 || quality > 100) fail(ErrorCode::usage, "quality: expected 1 to 100, found {}", quality);
  if (image.width > WEBP_MAX_DIMENSION || image.height > WEBP_MAX_DIMENSION) {
    fail(ErrorCode::usage, "WebP: {} x {} pixels, at most {} each", image.width, image.height, WEBP_MAX_DIMENSION);
  }
  const Image rgb = to_rgb(image);
  const int width = int(rgb.width), height = int(rgb.height), stride = width * 3;
  uint8_t* bytes = nullptr;
  const size_t size = quality == 100 ? WebPEncodeLosslessRGB(rgb.pixels.data(), width, height, stride, &bytes)
                                     : WebPEncodeRGB(rgb.pixels.data(), width, height, stride, float(quality), &bytes);
  const std::unique_ptr<uint8_t, void (*)(void*)> owner(bytes, WebPFree);
  if (size == 0) fail(ErrorCode::resource, "WebP: no memory for {} x {} pixels", width, height);
  const std::string_view plain(reinterpret_cast<const char*>(bytes), size);
  return text.empty() ? std::string(plain) : with_exif(plain, rgb.width, rgb.height, make_exif(text));
}

}  // namespace lathe::image
