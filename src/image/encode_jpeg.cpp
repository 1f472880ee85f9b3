// JPEG writing by libjpeg: baseline, optimised Huffman tables.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>

#include "image/encode.h"
#include "image/exif.h"
#include "image/formats.h"

namespace lathe::image {
namespace {

constexpr int kFullColour = 90;  // quality from which colour is not halved

struct Failure {
  jpeg_error_mgr manager;  // first, so that libjpeg's callback finds the rest
  std::jmp_buf landing;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  failure->manager.format_message(info, failure->message);
  std::longjmp(failure->landing, 1);
}

struct Writer {
  Failure failure{};
  jpeg_compress_struct info{};
  unsigned char* bytes = nullptr;  // malloc'ed by libjpeg
  unsigned long size = 0;

  Writer() {
    info.err = jpeg_std_error(&failure.manager);
    failure.manager.error_exit = on_error;
    if (setjmp(failure.landing)) fail(ErrorCode::resource, "JPEG: {}", failure.message);
    jpeg_create_compress(&info);
    jpeg_mem_dest(&info, &bytes, &size);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    jpeg_destroy_compress(&info);
    std::free(bytes);
  }
};

// `exif`: the content of its segment; empty: none.
bool write_all(Writer& writer, const Image& image, int quality, const std::string& exif) {
  jpeg_compress_struct& info = writer.info;
  if (setjmp(writer.failure.landing)) return false;
  info.image_width = JDIMENSION(image.width);
  info.image_height = JDIMENSION(image.height);
  info.input_components = int(image.channels);
  info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  info.optimize_coding = TRUE;
  if (image.channels == 3 && quality >= kFullColour)
    info.comp_info[0].h_samp_factor = info.comp_info[0].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  if (!exif.empty())
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()), unsigned(exif.size()));
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(int64_t(info.next_scanline)));  // only read
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  return true;
}

}  // namespace

std::string encode_jpeg(const Image& image, int quality, std::string_view text) {
  if (quality < 1 || quality > 100) fail(ErrorCode::usage, "quality: expected 1 to 100, found {}", quality);
  if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
    fail(ErrorCode::usage, "JPEG: {} x {} pixels, at most {} each", image.width, image.height, JPEG_MAX_DIMENSION);
  }
  std::string exif;
  if (!text.empty()) exif = std::string("Exif\0\0", 6) + make_exif(text);
  constexpr size_t kLargestSegment = 65'533;
  if (exif.size() > kLargestSegment) {
    fail(ErrorCode::usage, "JPEG: a text of {} bytes, at most {}", exif.size(), kLargestSegment);
  }
  Writer writer;
  if (!write_all(writer, image, quality, exif)) fail(ErrorCode::resource, "JPEG: {}", writer.failure.message);
  return {reinterpret_cast<const char*>(writer.bytes), writer.size};
}

}  // namespace lathe::image
