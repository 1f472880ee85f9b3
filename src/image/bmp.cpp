// BMP: uncompressed bitmaps of 1, 4, 8, 16, 24 and 32 bits a pixel, with or without colour masks.
#include <bit>

#include "image/formats.h"

namespace lathe::image {
namespace {

struct Header {
  uint32_t data = 0;  // where the pixels start
  int64_t width = 0;
  int64_t height = 0;
  bool top_down = false;
  uint32_t bits = 0;
  uint32_t masks[3] = {};  // red, green, blue
  size_t palette = 0;      // where it starts
  size_t entry = 4;        // bytes of one colour: blue, green, red (and nothing)
  uint32_t colours = 0;
};

// Little endian, or invalid_input past the end.
uint32_t read(Bytes file, size_t at, size_t bytes) {
  if (at > file.size() || bytes > file.size() - at) fail(ErrorCode::invalid_input, "BMP: ends at byte {}", file.size());
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= uint32_t(file[at + i]) << (8 * i);
  return value;
}

constexpr size_t kInfo = 14;  // the second header, after the file's own

// Compression 0: none, 3: none, with masks.
void read_masks(Bytes file, Header& header, uint32_t size) {
  const uint32_t compression = read(file, kInfo + 16, 4);
  if (compression != 0 && compression != 3) fail(ErrorCode::unsupported, "BMP: compression {}", compression);
  if (compression == 3) {
    for (size_t c = 0; c < 3; ++c) header.masks[c] = read(file, kInfo + 40 + 4 * c, 4);
    if (size == 40) header.palette += 12;
  }
}

Header read_header(Bytes file) {
  Header header;
  header.data = read(file, 10, 4);
  const uint32_t size = read(file, kInfo, 4);
  header.palette = kInfo + size_t(size);
  if (size == 12) {  // OS/2
    header.width = read(file, kInfo + 4, 2);
    header.height = read(file, kInfo + 6, 2);
    header.bits = read(file, kInfo + 10, 2);
    header.entry = 3;
  } else if (size >= 40 && size <= 4096) {
    header.width = int32_t(read(file, kInfo + 4, 4));
    header.height = int32_t(read(file, kInfo + 8, 4));
    header.bits = read(file, kInfo + 14, 2);
    header.colours = read(file, kInfo + 32, 4);
    if (header.bits == 16) {
      header.masks[0] = 0x7c00, header.masks[1] = 0x3e0, header.masks[2] = 0x1f;
    } else {
      header.masks[0] = 0xff0000, header.masks[1] = 0xff00, header.masks[2] = 0xff;
    }
    read_masks(file, header, size);
  } else {
    fail(ErrorCode::unsupported, "BMP: a header of {} bytes", size);
  }
  header.top_down = header.height < 0;
  if (header.top_down) header.height = -header.height;
  if (header.width < 0) fail(ErrorCode::invalid_input, "BMP: a width of {}", header.width);
  return header;
}

uint8_t masked(uint32_t value, uint32_t mask) {
  if (mask == 0) return 0;
  const int shift = std::countr_zero(mask);
  return scale_to_byte((value & mask) >> shift, mask >> shift);
}

// Pixel x of the row that starts at `row`.
void read_pixel(Bytes file, const Header& header, size_t row, int64_t x, uint8_t* rgb) {
  if (header.bits <= 8) {
    const size_t bit = size_t(x) * header.bits;
    const uint32_t byte = read(file, row + bit / 8, 1);
    const uint32_t index = (byte >> (8 - header.bits - bit % 8)) & ((1u << header.bits) - 1);
    if (index >= header.colours) fail(ErrorCode::invalid_input, "BMP: colour {} of {}", index, header.colours);
    const size_t at = header.palette + index * header.entry;
    for (size_t c = 0; c < 3; ++c) rgb[c] = uint8_t(read(file, at + 2 - c, 1));
  } else {
    const size_t bytes = header.bits / 8;
    const uint32_t value = read(file, row + size_t(x) * bytes, bytes);
    for (size_t c = 0; c < 3; ++c)
      rgb[c] = header.bits == 24 ? uint8_t(value >> (16 - 8 * c)) : masked(value, header.masks[c]);
  }
}

}  // namespace

Image decode_bmp(Bytes file) {
  Header header = read_header(file);
  const uint32_t bits = header.bits;
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32)
    fail(ErrorCode::unsupported, "BMP: {} bits a pixel", bits);
  if (bits <= 8 && (header.colours == 0 || header.colours > (1u << bits))) header.colours = 1u << bits;
  const uint64_t row_bytes = (uint64_t(header.width) * bits + 31) / 32 * 4;
  if (header.height > 0 && row_bytes > file.size() / uint64_t(header.height))
    fail(ErrorCode::invalid_input, "BMP: {} x {} pixels in {} bytes", header.width, header.height, file.size());
  Image image = make_image(uint64_t(header.width), uint64_t(header.height), 3);
  for (int64_t y = 0; y < image.height; ++y) {
    const int64_t stored = header.top_down ? y : image.height - 1 - y;
    const size_t row = header.data + size_t(stored) * row_bytes;
    for (int64_t x = 0; x < image.width; ++x) read_pixel(file, header, row, x, image.row(y) + 3 * x);
  }
  return image;
}

}  // namespace lathe::image
