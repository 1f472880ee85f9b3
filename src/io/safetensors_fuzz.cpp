// libFuzzer entry: any bytes are tensors that can be loaded, or an Error.
#include "base/error.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const io::SafetensorsFile file = io::SafetensorsFile::parse(bytes);
    for (const io::StoredTensor& tensor : file.tensors) tensor::load(*tensor.source());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
