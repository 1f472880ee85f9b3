// libFuzzer entry: any bytes are metadata and tensors that can be loaded, or an Error.
#include "base/error.h"
#include "io/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const io::GgufFile file = io::GgufFile::parse(bytes);
    for (const auto& [key, value] : file.metadata) {
      value.as_ints();
      value.as_floats();
      value.as_bools();
    }
    for (const io::StoredTensor& tensor : file.tensors) tensor::load(*tensor.source());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
