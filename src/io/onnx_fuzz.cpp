// libFuzzer entry: any bytes are a model or an Error, and what is read can be loaded, written and read again.
#include "base/error.h"
#include "io/onnx.h"
#include "io/onnx_write.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto allow = [](const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();  // our own check failed
  };
  io::OnnxLimits limits;
  limits.max_structure_bytes = uint64_t{64} << 20;
  try {
    io::OnnxModel model = io::parse_onnx(bytes, limits);
    bool all_loaded = true;
    io::each_tensor(model, [&](io::OnnxTensor& tensor) {
      try {
        tensor.values = io::load_onnx_tensor(tensor);
      } catch (const Error& error) {
        allow(error);
        all_loaded = false;
      }
    });
    if (all_loaded) io::predict_onnx_size("model.onnx", model);
  } catch (const Error& error) {
    allow(error);
  }
  try {
    const io::OnnxTensor tensor = io::parse_onnx_tensor(bytes, limits);
    const auto written = io::serialize_onnx_tensor(tensor);
    if (io::serialize_onnx_tensor(io::parse_onnx_tensor(written)) != written) __builtin_trap();
  } catch (const Error& error) {
    allow(error);
  }
  return 0;
}
