// Rounding of f32 to bytes of one tier.
#include "backend/cpu/quantize.h"

#include "backend/cpu/simd.h"

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

// x / scale to the nearest, then within the type, both less the zero point; a NaN gives a byte of 0.
template <class T>
inline void to_bytes(const float* x, float scale, int32_t zero, int64_t count, T* y) {
  constexpr float kLowest = T(-1) < 0 ? -128.0f : 0.0f;
  const F32 low = splat(kLowest - float(zero)), high = splat(kLowest + 255.0f - float(zero)), by = splat(scale);
  const I32 shift = splat_i32(zero);
  for (int64_t i = 0; i < count; i += kWidth) {
    const int lanes = count - i < kWidth ? int(count - i) : kWidth;
    const F32 q = div(lanes == kWidth ? load(x + i) : load_part(x + i, lanes), by);
    uint8_t bytes[kWidth];
    const I32 whole = add_i32(to_i32(min(max(q, low), high)), shift);
    const bool in_place = lanes == kWidth && !any_nan(q);
    store_low_bytes(in_place ? (void*)(y + i) : bytes, whole);
    if (in_place) continue;
    float quotients[kWidth];
    store(quotients, q);
    for (int lane = 0; lane < lanes; ++lane) y[i + lane] = quotients[lane] != quotients[lane] ? T(0) : T(bytes[lane]);
  }
}

void to_u8(const float* x, float scale, int32_t zero, int64_t count, uint8_t* y) {
  to_bytes(x, scale, zero, count, y);
}
void to_i8(const float* x, float scale, int32_t zero, int64_t count, int8_t* y) {
  to_bytes(x, scale, zero, count, y);
}

template <class T>
inline void from_bytes(const T* x, float scale, int32_t zero, int64_t count, float* y) {
  const F32 shift = splat(float(zero)), by = splat(scale);
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) {
    const I32 whole = T(-1) < 0 ? load_s8(x + i) : load_u8(x + i);
    store(y + i, mul(sub(to_f32(whole), shift), by));
  }
  for (; i < count; ++i) y[i] = float(int32_t(x[i]) - zero) * scale;
}
void from_u8(const uint8_t* x, float scale, int32_t zero, int64_t count, float* y) {
  from_bytes(x, scale, zero, count, y);
}
void from_i8(const int8_t* x, float scale, int32_t zero, int64_t count, float* y) {
  from_bytes(x, scale, zero, count, y);
}

}  // namespace

extern const QuantizeTier kQuantizeTier;
const QuantizeTier kQuantizeTier = {range, to_u8, to_i8, from_u8, from_i8};

}  // namespace lathe::backend::cpu::LATHE_TIER
