// libFuzzer entry: any bytes are a picture, perhaps with a text about it, or an Error.
#include "base/error.h"
#include "image/image.h"
#include "image/picture_text.h"

namespace {

template <class Body>
void read_or_refuse(Body&& body) {
  try {
    body();
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) __builtin_trap();  // our own check failed
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  read_or_refuse([&] { lathe::image::decode(file); });
  read_or_refuse([&] { lathe::image::find_picture_text(file); });
  return 0;
}
