// An ONNX model from bytes: imported, compiled and run, or an Error that is not our bug. Seeds: tests/frontend/contrib.
#include "verify/onnx_bytes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    lathe::verify::run_onnx_bytes({data, size});
  } catch (const lathe::Error& error) {
    if (error.code() == lathe::ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
