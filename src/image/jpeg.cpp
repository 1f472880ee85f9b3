// JPEG by libjpeg (libjpeg-turbo in Debian): baseline and progressive, with its exact transform and its smooth
// upsampling of chroma, which ONNX's ImageDecoder asks for.
#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>

#include "image/formats.h"

namespace lathe::image {
namespace {

// A progressive file may hold any number of scans of the whole picture; real ones have about ten.
constexpr int kMaxScans = 200;

// libjpeg's error manager first, so that its callbacks find the rest. It leaves by longjmp: nothing between the jump
// and the landing may have a destructor.
struct Failure {
  jpeg_error_mgr manager;
  std::jmp_buf landing;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  failure->manager.format_message(info, failure->message);
  std::longjmp(failure->landing, 1);
}

// Warnings (level -1) are damage that libjpeg would paint over; traces are nothing.
void on_message(j_common_ptr info, int level) {
  if (level < 0) on_error(info);
}

void on_progress(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number > kMaxScans) ERREXIT(info, JERR_BAD_PROGRESSION);
}

bool start(jpeg_decompress_struct& info, std::jmp_buf& landing) {
  if (setjmp(landing)) return false;
  jpeg_read_header(&info, TRUE);
  const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
  const bool four = info.num_components == 4;
  info.out_color_space = grey ? JCS_GRAYSCALE : four ? JCS_CMYK : JCS_RGB;
  info.dct_method = JDCT_ISLOW;
  info.do_fancy_upsampling = TRUE;
  return true;
}

// Reads all rows to `pixels`, `row_bytes` apart.
bool read_rows(jpeg_decompress_struct& info, std::jmp_buf& landing, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(landing)) return false;
  jpeg_start_decompress(&info);
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels + size_t(info.output_scanline) * row_bytes;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  return true;
}

struct Reader {
  Failure failure{};
  jpeg_progress_mgr progress{};
  jpeg_decompress_struct info{};

  explicit Reader(Bytes file) {
    info.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = on_error;
    failure.manager.emit_message = on_message;
    if (setjmp(failure.landing)) fail(ErrorCode::resource, "JPEG: {}", failure.message);
    jpeg_create_decompress(&info);
    progress.progress_monitor = on_progress;
    info.progress = &progress;
    jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), static_cast<unsigned long>(file.size()));
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { jpeg_destroy_decompress(&info); }

  void check(bool done) const {
    if (!done) fail(ErrorCode::invalid_input, "JPEG: {}", failure.message);
  }
};

// Cyan, magenta, yellow and black to RGB. Adobe's files hold them inverted, as amounts of light.
Image from_cmyk(const Image& four, bool inverted) {
  Image image{four.width, four.height, 3, {}};
  image.pixels.resize(four.pixels.size() / 4 * 3);
  for (size_t i = 0; i < four.pixels.size() / 4; ++i) {
    const auto light = [&](size_t c) {
      const unsigned value = four.pixels[4 * i + c];
      return inverted ? value : 255 - value;
    };
    for (size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = uint8_t((light(c) * light(3) + 127) / 255);
  }
  return image;
}

}  // namespace

Image decode_jpeg(Bytes file) {
  Reader reader(file);
  jpeg_decompress_struct& info = reader.info;
  reader.check(start(info, reader.failure.landing));
  const int channels = info.out_color_space == JCS_GRAYSCALE ? 1 : info.out_color_space == JCS_CMYK ? 4 : 3;
  Image image = make_image(info.image_width, info.image_height, channels);
  reader.check(read_rows(info, reader.failure.landing, image.pixels.data(), size_t(image.width * image.channels)));
  return channels == 4 ? from_cmyk(image, info.saw_Adobe_marker) : image;
}

}  // namespace lathe::image
