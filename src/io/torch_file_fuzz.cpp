// libFuzzer entry: any bytes are tensors that can be loaded, or an Error.
#include "base/error.h"
#include "io/torch_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const io::TorchFile file = io::TorchFile::parse(bytes);
    for (const io::NamedSource& tensor : file.tensors) tensor::load(*tensor.source);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  }
  return 0;
}
