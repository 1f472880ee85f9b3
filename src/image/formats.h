// The decoders, one per format and file, and what they share.
#pragma once

#include "base/error.h"
#include "image/image.h"

namespace lathe::image {

using Bytes = std::span<const std::byte>;

// Each throws as image.h says; none looks at bytes outside of the file.
Image decode_bmp(Bytes file);
Image decode_jpeg(Bytes file);
Image decode_jpeg2000(Bytes file);
Image decode_png(Bytes file);
Image decode_pnm(Bytes file);
Image decode_tiff(Bytes file);
Image decode_webp(Bytes file);

// An image of zeros. Throws invalid_input without pixels or with more than kMaxPixels.
Image make_image(uint64_t width, uint64_t height, int64_t channels);

// value of 0 to `largest` as 0 to 255, rounded; larger values are 255.
inline uint8_t scale_to_byte(uint64_t value, uint64_t largest) {
  return value >= largest ? 255 : uint8_t((value * 255 + largest / 2) / largest);
}

}  // namespace lathe::image
