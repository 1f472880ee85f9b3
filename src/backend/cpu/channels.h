// Functions over the channels of one position: what pools, statistics and interpolation are made of.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

// noexcept, no allocation, any alignment, any count.
struct ChannelsTier {
  void (*max_into)(const float* x, int64_t count, float* y);  // y = max(y, x); a NaN wins
  void (*add_into)(const float* x, int64_t count, float* y);  // y += x
  void (*scale)(float factor, int64_t count, float* y);       // y *= factor
  void (*add_scaled)(const float* x, float factor, int64_t count, float* y);  // y += factor x
  // y = x scale + shift, each of them by channel
  void (*scale_shift)(const float* x, const float* scale, const float* shift, int64_t count, float* y);
  // sums += x - shift, squares += (x - shift)^2, by channel
  void (*moments)(const float* x, const float* shift, int64_t count, float* sums, float* squares);
  float (*row_sum)(const float* x, int64_t count);
  // x = e^(x - shift); returns their sum. -infinity becomes 0.
  float (*row_exp)(float* x, float shift, int64_t count);
  float (*row_max)(const float* x, int64_t count);  // -infinity for none; NaN is not looked for
  // y = max(y, x) of bytes
  void (*max_u8_into)(const uint8_t* x, int64_t count, uint8_t* y);
  void (*max_i8_into)(const int8_t* x, int64_t count, int8_t* y);
};

namespace avx2 {
extern const ChannelsTier kChannelsTier;
}
namespace avx512 {
extern const ChannelsTier kChannelsTier;
}

}  // namespace lathe::backend::cpu
