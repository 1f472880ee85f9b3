// libFuzzer entry: any bytes are a picture, or an Error.
#include "base/error.h"
#include "image/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  try {
    image::decode(std::as_bytes(std::span(data, size)));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
