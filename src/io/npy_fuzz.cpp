// libFuzzer entry: any bytes are an array, or an Error.
#include "base/error.h"
#include "io/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    io::parse_npy(bytes);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
