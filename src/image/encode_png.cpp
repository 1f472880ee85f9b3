// PNG writing with libpng: 8 bits, grey or RGB, with text chunks.
#include <png.h>

#include <csetjmp>
#include <memory>

#include "image/formats.h"

namespace lathe::image {
namespace {

struct Target {
  std::string bytes;
  std::string error;
};

// No exception may pass through libpng.
void append(png_structp png, png_bytep data, png_size_t size) {
  bool appended = true;
  try {
    static_cast<Target*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(data), size);
  } catch (const std::exception&) {
    appended = false;
  }
  if (!appended) png_error(png, "no memory");
}

void flush(png_structp) {}

[[noreturn]] void keep_error(png_structp png, png_const_charp message) {
  static_cast<Target*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

std::vector<png_text> chunks_of(std::span<const PngText> texts) {
  std::vector<png_text> chunks;
  for (const PngText& text : texts) {
    png_text chunk{};
    chunk.compression = PNG_ITXT_COMPRESSION_NONE;  // UTF-8
    chunk.key = const_cast<char*>(text.key.c_str());
    chunk.text = const_cast<char*>(text.value.c_str());
    chunk.itxt_length = text.value.size();
    chunks.push_back(chunk);
  }
  return chunks;
}

// False where libpng fails. Holds nothing that a long jump would leave behind.
bool write(png_structp png, png_infop info, const Image& image, std::vector<png_text>& chunks,
           std::vector<png_bytep>& rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_set_IHDR(png, info, png_uint_32(image.width), png_uint_32(image.height), 8,
               image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!chunks.empty()) png_set_text(png, info, chunks.data(), int(chunks.size()));
  png_write_info(png, info);
  png_write_image(png, rows.data());
  png_write_end(png, nullptr);
  return true;
}

}  // namespace

std::string encode_png(const Image& image, std::span<const PngText> texts) {
  if (image.channels != 1 && image.channels != 3) {
    fail(ErrorCode::unsupported, "a PNG of {} channels, expected 1 or 3", image.channels);
  }
  Target target;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &target, keep_error, ignore_warning);
  if (!png) fail(ErrorCode::resource, "no memory for a PNG");
  png_infop info = png_create_info_struct(png);
  std::vector<png_text> chunks = chunks_of(texts);
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < image.height; ++y) rows.push_back(const_cast<png_bytep>(image.row(y)));
  png_set_write_fn(png, &target, append, flush);
  const bool good = info && write(png, info, image, chunks, rows);
  png_destroy_write_struct(&png, info ? &info : nullptr);
  if (!good) fail(ErrorCode::invalid_input, "no PNG of {} x {} pixels: {}", image.width, image.height, target.error);
  return std::move(target.bytes);
}

}  // namespace lathe::image
