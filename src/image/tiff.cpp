// TIFF by libtiff: the first picture of a file, whatever its compression and colour, as RGB.
#include <tiffio.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "image/formats.h"

namespace lathe::image {
namespace {

// A file in memory, as libtiff's callbacks see it, and the first thing that libtiff complained of.
struct Source {
  Bytes file;
  uint64_t at = 0;
  std::string message;
};

Source& source_of(thandle_t handle) {
  return *static_cast<Source*>(handle);
}

tmsize_t read_bytes(thandle_t handle, void* to, tmsize_t count) {
  Source& source = source_of(handle);
  if (source.at >= source.file.size() || count <= 0) return 0;
  const size_t taken = std::min(size_t(count), source.file.size() - size_t(source.at));
  std::memcpy(to, source.file.data() + source.at, taken);
  source.at += taken;
  return tmsize_t(taken);
}

tmsize_t write_bytes(thandle_t, void*, tmsize_t) {
  return 0;
}

toff_t seek(thandle_t handle, toff_t offset, int whence) {
  Source& source = source_of(handle);
  const uint64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? source.at : source.file.size();
  source.at = base + offset;  // wraps as a negative offset does
  return source.at;
}

int close_file(thandle_t) {
  return 0;
}

toff_t size_of(thandle_t handle) {
  return source_of(handle).file.size();
}

int map_file(thandle_t handle, void** base, toff_t* size) {
  Source& source = source_of(handle);
  *base = const_cast<std::byte*>(source.file.data());  // libtiff maps files to read
  *size = source.file.size();
  return 1;
}

void unmap_file(thandle_t, void*, toff_t) {}

int on_error(TIFF*, void* user, const char*, const char* format, va_list arguments) {
  auto& message = static_cast<Source*>(user)->message;
  if (!message.empty()) return 1;
  char text[200];
  std::vsnprintf(text, sizeof text, format, arguments);
  message = text;
  return 1;  // reported: not to libtiff's global handlers
}

int on_warning(TIFF*, void*, const char*, const char*, va_list) {
  return 1;
}

[[noreturn]] void refuse(const Source& source, const char* what) {
  fail(ErrorCode::invalid_input, "TIFF: {}", source.message.empty() ? what : source.message.c_str());
}

using Options = std::unique_ptr<TIFFOpenOptions, decltype(&TIFFOpenOptionsFree)>;
using File = std::unique_ptr<TIFF, decltype(&TIFFClose)>;

File open(Source& source) {
  const Options options(TIFFOpenOptionsAlloc(), TIFFOpenOptionsFree);
  if (!options) fail(ErrorCode::resource, "no memory to read a TIFF");
  TIFFOpenOptionsSetMaxSingleMemAlloc(options.get(), tmsize_t(kMaxPixels) * 8);
  TIFFOpenOptionsSetErrorHandlerExtR(options.get(), on_error, &source);
  TIFFOpenOptionsSetWarningHandlerExtR(options.get(), on_warning, &source);
  return File(TIFFClientOpenExt("memory", "r", &source, read_bytes, write_bytes, seek, close_file, size_of, map_file,
                                unmap_file, options.get()),
              TIFFClose);
}

}  // namespace

Image decode_tiff(Bytes file) {
  Source source{file, 0, {}};
  const File tiff = open(source);
  if (!tiff) refuse(source, "no directory");
  uint32_t width = 0;
  uint32_t height = 0;
  if (!TIFFGetField(tiff.get(), TIFFTAG_IMAGEWIDTH, &width) || !TIFFGetField(tiff.get(), TIFFTAG_IMAGELENGTH, &height))
    refuse(source, "no size");
  Image image = make_image(width, height, 3);
  std::vector<uint32_t> raster(size_t(image.width * image.height));
  if (!TIFFReadRGBAImageOriented(tiff.get(), width, height, raster.data(), ORIENTATION_TOPLEFT, 1))
    refuse(source, "damaged picture");
  for (size_t i = 0; i < raster.size(); ++i) {
    image.pixels[3 * i] = uint8_t(TIFFGetR(raster[i]));
    image.pixels[3 * i + 1] = uint8_t(TIFFGetG(raster[i]));
    image.pixels[3 * i + 2] = uint8_t(TIFFGetB(raster[i]));
  }
  return image;
}

}  // namespace lathe::image
