// Functions over channels of one tier.
#include "backend/cpu/channels.h"

#include <math.h>

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// y[i] = f(i, whole or part): `read` and `write` handle the rest of fewer lanes than a vector.
template <class F>
inline void each_vector(int64_t count, F f) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) f(i, kWidth);
  if (i < count) f(i, int(count - i));
}
inline F32 get(const float* p, int lanes) {
  return lanes == kWidth ? load(p) : load_part(p, lanes);
}
inline void put(float* p, F32 x, int lanes) {
  if (lanes == kWidth)
    store(p, x);
  else
    store_part(p, x, lanes);
}
#if defined(__AVX512F__)
inline F32 nan_max(F32 a, F32 b) {  // vmaxps gives b for a NaN in either: put back that of a
  return _mm512_mask_mov_ps(max(a, b), _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), a);
}
#else
inline F32 nan_max(F32 a, F32 b) {
  return _mm256_blendv_ps(max(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
#endif

void max_into(const float* x, int64_t count, float* y) {
  each_vector(count, [&](int64_t i, int lanes) { put(y + i, nan_max(get(y + i, lanes), get(x + i, lanes)), lanes); });
}
void add_into(const float* x, int64_t count, float* y) {
  each_vector(count, [&](int64_t i, int lanes) { put(y + i, add(get(y + i, lanes), get(x + i, lanes)), lanes); });
}
void scale(float factor, int64_t count, float* y) {
  each_vector(count, [&](int64_t i, int lanes) { put(y + i, mul(get(y + i, lanes), splat(factor)), lanes); });
}
void add_scaled(const float* x, float factor, int64_t count, float* y) {
  each_vector(count, [&](int64_t i, int lanes) {
    put(y + i, fma(get(x + i, lanes), splat(factor), get(y + i, lanes)), lanes);
  });
}
void scale_shift(const float* x, const float* scales, const float* shift, int64_t count, float* y) {
  each_vector(count, [&](int64_t i, int lanes) {
    put(y + i, fma(get(x + i, lanes), get(scales + i, lanes), get(shift + i, lanes)), lanes);
  });
}
void moments(const float* x, const float* shift, int64_t count, float* sums, float* squares) {
  each_vector(count, [&](int64_t i, int lanes) {
    const F32 d = sub(get(x + i, lanes), get(shift + i, lanes));
    put(sums + i, add(get(sums + i, lanes), d), lanes);
    put(squares + i, fma(d, d, get(squares + i, lanes)), lanes);
  });
}

float row_sum(const float* x, int64_t count) {
  F32 sum = zero();
  each_vector(count, [&](int64_t i, int lanes) { sum = add(sum, get(x + i, lanes)); });
  return sum_lanes(sum);
}
float row_exp(float* x, float shift, int64_t count) {
  F32 sum = zero();
  const F32 off = splat(shift);
  each_vector(count, [&](int64_t i, int lanes) {
    const F32 e = exp(sub(get(x + i, lanes), off));
    put(x + i, e, lanes);
    sum = add(sum, lanes == kWidth ? e : keep_first(e, lanes, zero()));
  });
  return sum_lanes(sum);
}
float row_max(const float* x, int64_t count) {
  F32 largest = splat(-HUGE_VALF);
  each_vector(count, [&](int64_t i, int lanes) {
    const F32 v = get(x + i, lanes);
    largest = max(lanes == kWidth ? v : keep_first(v, lanes, splat(-HUGE_VALF)), largest);
  });
  return max_lanes(largest);
}


template <class T>
inline void max_bytes(const T* __restrict x, int64_t count, T* __restrict y) {
  for (int64_t i = 0; i < count; ++i) y[i] = y[i] > x[i] ? y[i] : x[i];
}
void max_u8_into(const uint8_t* x, int64_t count, uint8_t* y) {
  max_bytes(x, count, y);
}
void max_i8_into(const int8_t* x, int64_t count, int8_t* y) {
  max_bytes(x, count, y);
}

}  // namespace

extern const ChannelsTier kChannelsTier;
const ChannelsTier kChannelsTier = {max_into, add_into,   scale,   add_scaled, scale_shift,
                                    moments,  row_sum,    row_exp, row_max,    max_u8_into, max_i8_into};

}  // namespace lathe::backend::cpu::LATHE_TIER
