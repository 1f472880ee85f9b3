#include "image/image.h"

#include <cstring>

#include "image/formats.h"

namespace lathe::image {
namespace {

bool starts_with(Bytes file, std::string_view magic) {
  return file.size() >= magic.size() && std::memcmp(file.data(), magic.data(), magic.size()) == 0;
}

using namespace std::string_view_literals;

struct Format {
  std::string_view magic;
  Image (*decode)(Bytes);
};

constexpr Format kFormats[] = {
    {"\x89PNG\r\n\x1a\n"sv, decode_png},
    {"\xff\xd8\xff"sv, decode_jpeg},
    {"\0\0\0\x0cjP  \r\n\x87\n"sv, decode_jpeg2000},  // JP2
    {"\xff\x4f\xff\x51"sv, decode_jpeg2000},          // a bare codestream
    {"RIFF"sv, decode_webp},
    {"II*\0"sv, decode_tiff},
    {"MM\0*"sv, decode_tiff},
    {"II+\0"sv, decode_tiff},  // BigTIFF
    {"MM\0+"sv, decode_tiff},
    {"BM"sv, decode_bmp},
    {"P1"sv, decode_pnm},
    {"P2"sv, decode_pnm},
    {"P3"sv, decode_pnm},
    {"P4"sv, decode_pnm},
    {"P5"sv, decode_pnm},
    {"P6"sv, decode_pnm},
};

}  // namespace

Image make_image(uint64_t width, uint64_t height, int64_t channels) {
  if (width == 0 || height == 0) fail(ErrorCode::invalid_input, "an image of {} x {} pixels", width, height);
  if (width > uint64_t(kMaxPixels) || height > uint64_t(kMaxPixels) / width) {
    fail(ErrorCode::invalid_input, "an image of {} x {} pixels, more than {}", width, height, kMaxPixels);
  }
  Image image{int64_t(width), int64_t(height), channels, {}};
  image.pixels.resize(size_t(width * height * uint64_t(channels)));
  return image;
}

Image decode(Bytes file) {
  for (const Format& format : kFormats) {
    if (starts_with(file, format.magic)) return format.decode(file);
  }
  fail(ErrorCode::invalid_input, "{} bytes that start like no known image format", file.size());
}

Image to_rgb(const Image& image) {
  if (image.channels == 3) return image;
  Image result{image.width, image.height, 3, {}};
  result.pixels.reserve(image.pixels.size() * 3);
  for (const uint8_t grey : image.pixels) result.pixels.insert(result.pixels.end(), 3, grey);
  return result;
}

Image to_grey(const Image& image) {
  if (image.channels == 1) return image;
  Image result{image.width, image.height, 1, {}};
  result.pixels.resize(image.pixels.size() / 3);
  for (size_t i = 0; i < result.pixels.size(); ++i) {
    const uint8_t* p = image.pixels.data() + 3 * i;
    // The weights in 1 / 65536; they add up to it.
    result.pixels[i] = uint8_t((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 32768u) >> 16);
  }
  return result;
}

}  // namespace lathe::image
