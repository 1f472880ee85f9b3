// Rounding of f32 to bytes of one tier.
#include "backend/cpu/quantize.h"

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

void range(const float* x, int64_t count, float* lowest, float* highest) {
  F32 low = splat(*lowest), high = splat(*highest);
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    const F32 v = load(x + i);  // first: min and max give the second where one is NaN
    low = min(v, low);
    high = max(v, high);
  }
  float lows[kWidth], highs[kWidth];
  store(lows, low);
  store(highs, high);
  for (int lane = 0; lane < kWidth; ++lane) {
    if (lows[lane] < *lowest) *lowest = lows[lane];
    if (highs[lane] > *highest) *highest = highs[lane];
  }
  for (; i < count; ++i) {
    if (x[i] < *lowest) *lowest = x[i];
    if (x[i] > *highest) *highest = x[i];
  }
}

// Plain loops over a block, which the compiler turns into vectors: quotients, then bytes.
template <class T>
inline void to_bytes(const float* x, float scale, int32_t zero, int64_t count, T* y) {
  constexpr float kLowest = T(-1) < 0 ? -128.0f : 0.0f;
  constexpr int64_t kBlock = 256;
  int32_t whole[kBlock];
  const F32 low = splat(kLowest), high = splat(kLowest + 255.0f), by = splat(scale), shift = splat(float(zero));
  for (int64_t at = 0; at < count; at += kBlock) {
    const int64_t length = count - at < kBlock ? count - at : kBlock;
    for (int64_t i = 0; i < length; i += kWidth) {
      const int lanes = length - i < kWidth ? int(length - i) : kWidth;
      const F32 v = lanes == kWidth ? load(x + at + i) : load_part(x + at + i, lanes);
      const F32 q = add(round(div(v, by)), shift);
      float results[kWidth];
      store(results, min(high, max(low, q)));
      // min and max keep a NaN that stands second.
      for (int lane = 0; lane < kWidth; ++lane) {
        whole[i + lane] = results[lane] != results[lane] ? 0 : int32_t(results[lane]);
      }
    }
    for (int64_t i = 0; i < length; ++i) y[at + i] = T(whole[i]);
  }
}

void to_u8(const float* x, float scale, int32_t zero, int64_t count, uint8_t* y) {
  to_bytes(x, scale, zero, count, y);
}
void to_i8(const float* x, float scale, int32_t zero, int64_t count, int8_t* y) {
  to_bytes(x, scale, zero, count, y);
}

}  // namespace

extern const QuantizeTier kQuantizeTier;
const QuantizeTier kQuantizeTier = {range, to_u8, to_i8};

}  // namespace lathe::backend::cpu::LATHE_TIER
