// Rounding runs of f32 to bytes.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

// noexcept, no allocation, any alignment.
struct QuantizeTier {
  // Widens [*lowest, *highest] by the elements; a NaN changes nothing.
  void (*range)(const float* x, int64_t count, float* lowest, float* highest);
  // y = x / scale to the nearest integer (ties to even) + zero, within the type; NaN gives 0.
  void (*to_u8)(const float* x, float scale, int32_t zero, int64_t count, uint8_t* y);
  void (*to_i8)(const float* x, float scale, int32_t zero, int64_t count, int8_t* y);
  // y = (x - zero) * scale
  void (*from_u8)(const uint8_t* x, float scale, int32_t zero, int64_t count, float* y);
  void (*from_i8)(const int8_t* x, float scale, int32_t zero, int64_t count, float* y);
};

namespace avx2 {
extern const QuantizeTier kQuantizeTier;
}
namespace avx512 {
extern const QuantizeTier kQuantizeTier;
}

}  // namespace lathe::backend::cpu
