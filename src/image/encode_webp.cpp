// WebP writing by libwebp.
#include <webp/encode.h>

#include <memory>

#include "image/encode.h"
#include "image/formats.h"

namespace lathe::image {

std::string encode_webp(const Image& image, int quality) {
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
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace lathe::image
