// PNG by libpng: every colour type and depth, interlaced or not.
#include <png.h>

#include <csetjmp>
#include <cstring>

#include "image/formats.h"

namespace lathe::image {
namespace {

struct Source {
  Bytes file;
  size_t at = 0;
};

// What libpng reports; it leaves by longjmp, so nothing between the jump and the landing may have a destructor.
struct Failure {
  char message[200] = "";
};

void on_error(png_structp png, png_const_charp message) {
  auto* failure = static_cast<Failure*>(png_get_error_ptr(png));
  std::strncpy(failure->message, message, sizeof failure->message - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void read_bytes(png_structp png, png_bytep to, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->file.size() - source->at) png_error(png, "the file ends early");
  std::memcpy(to, source->file.data() + source->at, count);
  source->at += count;
}

// The header; and everything as 8 bits, grey or RGB, without alpha. False: libpng gave up.
bool read_header(png_structp png, png_infop info) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_info(png, info);
  png_set_scale_16(png);
  png_set_expand(png);  // palettes to RGB, 1, 2 and 4 bits of grey to 8, tRNS to alpha
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  return true;
}

bool read_pixels(png_structp png, png_bytep* rows) {
  if (setjmp(png_jmpbuf(png))) return false;
  png_read_image(png, rows);
  png_read_end(png, nullptr);
  return true;
}

// libpng's two structures, freed together.
struct Reader {
  Failure failure;
  Source source;
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit Reader(Bytes file) : source{file} {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &failure, on_error, on_warning);
    if (png) info = png_create_info_struct(png);
    if (!info) {
      png_destroy_read_struct(&png, &info, nullptr);
      fail(ErrorCode::resource, "no memory to read a PNG");
    }
    png_set_read_fn(png, &source, read_bytes);
    png_set_user_limits(png, png_uint_32(kMaxPixels), png_uint_32(kMaxPixels));
    png_set_chunk_malloc_max(png, 8 << 20);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }

  void check(bool done) const {
    if (!done) fail(ErrorCode::invalid_input, "PNG: {}", failure.message);
  }
};

}  // namespace

Image decode_png(Bytes file) {
  Reader reader(file);
  reader.check(read_header(reader.png, reader.info));
  const int channels = png_get_channels(reader.png, reader.info);
  if ((channels != 1 && channels != 3) || png_get_bit_depth(reader.png, reader.info) != 8)
    fail(ErrorCode::unsupported, "PNG: {} channels", channels);
  Image image =
      make_image(png_get_image_width(reader.png, reader.info), png_get_image_height(reader.png, reader.info), channels);
  if (png_get_rowbytes(reader.png, reader.info) != size_t(image.width * image.channels))
    fail(ErrorCode::invalid_input, "PNG: rows of {} bytes", png_get_rowbytes(reader.png, reader.info));
  std::vector<png_bytep> rows;
  for (int64_t y = 0; y < image.height; ++y) rows.push_back(image.row(y));
  reader.check(read_pixels(reader.png, rows.data()));
  return image;
}

}  // namespace lathe::image
