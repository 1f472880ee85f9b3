// JPEG 2000 by OpenJPEG: JP2 files and bare codestreams, of one or three components (further ones are left out).
#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "image/formats.h"

namespace lathe::image {
namespace {

struct Source {
  Bytes file;
  size_t at = 0;
};

OPJ_SIZE_T read_bytes(void* to, OPJ_SIZE_T count, void* user) {
  auto& source = *static_cast<Source*>(user);
  const size_t taken = std::min<size_t>(count, source.file.size() - source.at);
  if (taken == 0) return OPJ_SIZE_T(-1);
  std::memcpy(to, source.file.data() + source.at, taken);
  source.at += taken;
  return taken;
}

OPJ_BOOL seek(OPJ_OFF_T offset, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (offset < 0 || uint64_t(offset) > source.file.size()) return OPJ_FALSE;
  source.at = size_t(offset);
  return OPJ_TRUE;
}

OPJ_OFF_T skip(OPJ_OFF_T count, void* user) {
  auto& source = *static_cast<Source*>(user);
  if (count < 0 || uint64_t(count) > source.file.size() - source.at) return -1;
  source.at += size_t(count);
  return count;
}

void keep_first(const char* message, void* user) {
  auto& kept = *static_cast<std::string*>(user);
  if (kept.empty()) kept = message;
}

void ignore(const char*, void*) {}

using Codec = std::unique_ptr<opj_codec_t, decltype(&opj_destroy_codec)>;
using Stream = std::unique_ptr<opj_stream_t, decltype(&opj_stream_destroy)>;
using Decoded = std::unique_ptr<opj_image_t, decltype(&opj_image_destroy)>;

Stream make_stream(Source& source) {
  Stream stream(opj_stream_default_create(OPJ_TRUE), opj_stream_destroy);
  if (!stream) fail(ErrorCode::resource, "no memory to read a JPEG 2000");
  opj_stream_set_user_data(stream.get(), &source, nullptr);
  opj_stream_set_user_data_length(stream.get(), source.file.size());
  opj_stream_set_read_function(stream.get(), read_bytes);
  opj_stream_set_seek_function(stream.get(), seek);
  opj_stream_set_skip_function(stream.get(), skip);
  return stream;
}

// A codestream of a few bytes can be a picture of any size, decoded slowly; beyond this size it must hold something.
constexpr uint64_t kBlankPixels = uint64_t{1} << 24;
constexpr uint64_t kPixelsPerByte = 4096;

// Refuses what would take more memory or time than a picture may.
void check_size(const opj_image_t& image, size_t file_size) {
  if (image.numcomps < 1 || image.numcomps > 16)
    fail(ErrorCode::unsupported, "JPEG 2000: {} components", image.numcomps);
  if (image.x1 <= image.x0 || image.y1 <= image.y0) fail(ErrorCode::invalid_input, "JPEG 2000: no pixels");
  const uint64_t width = image.x1 - image.x0;
  const uint64_t height = image.y1 - image.y0;
  const uint64_t most = uint64_t(kMaxPixels) * 3 / std::max<uint64_t>(3, image.numcomps);
  if (width > most || height > most / width)
    fail(ErrorCode::invalid_input, "JPEG 2000: {} x {} pixels, more than {}", width, height, most);
  if (width * height > kBlankPixels && width * height / kPixelsPerByte > file_size)
    fail(ErrorCode::invalid_input, "JPEG 2000: {} x {} pixels in {} bytes", width, height, file_size);
}

Decoded decode_components(Bytes file) {
  Source source{file};
  std::string message;
  const bool bare = file[0] == std::byte{0xff};
  const Codec codec(opj_create_decompress(bare ? OPJ_CODEC_J2K : OPJ_CODEC_JP2), opj_destroy_codec);
  const Stream stream = make_stream(source);
  if (!codec) fail(ErrorCode::resource, "no memory to read a JPEG 2000");
  opj_set_error_handler(codec.get(), keep_first, &message);
  opj_set_warning_handler(codec.get(), ignore, nullptr);
  opj_set_info_handler(codec.get(), ignore, nullptr);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  const auto check = [&](bool done) {
    if (!done) fail(ErrorCode::invalid_input, "JPEG 2000: {}", message.empty() ? "damaged file" : message);
  };
  check(opj_setup_decoder(codec.get(), &parameters));
  opj_image_t* raw = nullptr;
  const bool has_header = opj_read_header(stream.get(), codec.get(), &raw);
  Decoded image(raw, opj_image_destroy);
  check(has_header && image);
  check_size(*image, file.size());
  check(opj_decode(codec.get(), stream.get(), image.get()));
  check(opj_end_decompress(codec.get(), stream.get()));
  return image;
}

// The sample of a component that pixel (x, y) shows, 0 to 255.
uint8_t sample(const opj_image_comp_t& component, int64_t x, int64_t y) {
  const int64_t column = std::min<int64_t>(x / component.dx, int64_t(component.w) - 1);
  const int64_t row = std::min<int64_t>(y / component.dy, int64_t(component.h) - 1);
  const int64_t largest = (int64_t{1} << component.prec) - 1;
  int64_t value = component.data[row * int64_t(component.w) + column];
  if (component.sgnd) value += int64_t{1} << (component.prec - 1);
  return scale_to_byte(uint64_t(std::max<int64_t>(0, value)), uint64_t(largest));
}

// Luma and chroma of 8 bits, full range, to red, green and blue.
void from_ycc(uint8_t* pixel) {
  const double y = pixel[0];
  const double blue = pixel[1] - 128.0;
  const double red = pixel[2] - 128.0;
  const double rgb[3] = {y + 1.402 * red, y - 0.344136 * blue - 0.714136 * red, y + 1.772 * blue};
  for (int c = 0; c < 3; ++c) pixel[c] = uint8_t(std::clamp(rgb[c] + 0.5, 0.0, 255.0));
}

}  // namespace

Image decode_jpeg2000(Bytes file) {
  const Decoded decoded = decode_components(file);
  const int64_t channels = decoded->numcomps < 3 ? 1 : 3;
  for (int64_t c = 0; c < channels; ++c) {
    const opj_image_comp_t& component = decoded->comps[c];
    if (!component.data || component.w == 0 || component.h == 0 || component.dx == 0 || component.dy == 0)
      fail(ErrorCode::invalid_input, "JPEG 2000: component {} has no samples", c);
    if (component.prec < 1 || component.prec > 31)
      fail(ErrorCode::unsupported, "JPEG 2000: samples of {} bits", component.prec);
  }
  Image image = make_image(decoded->x1 - decoded->x0, decoded->y1 - decoded->y0, channels);
  const bool ycc =
      channels == 3 && (decoded->color_space == OPJ_CLRSPC_SYCC || decoded->color_space == OPJ_CLRSPC_EYCC);
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      uint8_t* pixel = image.row(y) + x * channels;
      for (int64_t c = 0; c < channels; ++c) pixel[c] = sample(decoded->comps[c], x, y);
      if (ycc) from_ycc(pixel);
    }
  }
  return image;
}

}  // namespace lathe::image
