// Pictures out of files of any common format, told by their first bytes: PNG, JPEG, JPEG 2000, WebP, TIFF, BMP, PNM.
//
// The files may be hostile: every decoder either succeeds or throws Error (invalid_input: not what it claims to be,
// unsupported: a variant that is not read, resource: no memory), and none allocates for more than kMaxPixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lathe::image {

constexpr int64_t kMaxPixels = int64_t{1} << 27;

// Rows from the top, pixels from the left, channels innermost: 1 (grey) or 3 (red, green, blue), 0 to 255. What a
// file says of transparency, orientation and colour profiles is left out.
struct Image {
  int64_t width = 0;
  int64_t height = 0;
  int64_t channels = 0;
  std::vector<uint8_t> pixels;

  uint8_t* row(int64_t y) { return pixels.data() + y * width * channels; }
  const uint8_t* row(int64_t y) const { return pixels.data() + y * width * channels; }
};

Image decode(std::span<const std::byte> file);
// The same picture with other channels: grey is 0.299 red + 0.587 green + 0.114 blue, rounded.
Image to_rgb(const Image& image);
Image to_grey(const Image& image);

// A PNG file of 8 bits a channel with texts, both in UTF-8: keys of 1 to 79 Latin-1 characters; values that Latin-1 can
// hold become tEXt chunks, others iTXt, as Pillow writes them. Throws unsupported for other channels than 1 and 3,
// invalid_input for what PNG cannot hold.
struct PngText {
  std::string key;
  std::string value;

  bool operator==(const PngText&) const = default;
};
std::string encode_png(const Image& image, std::span<const PngText> texts = {});

}  // namespace lathe::image
