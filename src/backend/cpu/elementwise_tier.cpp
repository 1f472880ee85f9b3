// Compiled once per tier, see cmake/cpu_kernels.cmake.
#include <math.h>

#include "backend/cpu/elementwise.h"
#include "backend/cpu/vector_math.h"

#define LATHE_INLINE inline __attribute__((always_inline))

namespace lathe::backend::cpu::LATHE_TIER {

extern const ElementwiseKernels elementwise_kernels;

namespace {

// y[i] = function(i-th vector of the inputs), whole vectors first.
template <class Function>
LATHE_INLINE void map(int64_t count, float* y, Function function) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth)
    store(y + i, function([i](const float* p) { return load(p + i); }));
  if (i == count) return;
  const int rest = int(count - i);
  store_part(y + i, function([i, rest](const float* p) { return load_part(p + i, rest); }), rest);
}

// Sum over a row of function(x), in four chains; lanes behind the end are left out whatever function makes of
// 0.
template <class Function>
LATHE_INLINE float sum_row(const float* x, int64_t count, Function function) {
  F32 sums[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kWidth <= count; i += 4 * kWidth) {
    for (int j = 0; j < 4; ++j) sums[j] = add(sums[j], function(load(x + i + j * kWidth)));
  }
  for (; i < count; i += kWidth) {
    const int rest = count - i < kWidth ? int(count - i) : kWidth;
    const F32 part = rest == kWidth ? load(x + i) : load_part(x + i, rest);
    sums[0] = add(sums[0], keep_first(function(part), rest, zero()));
  }
  return sum_lanes(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

// Largest element and whether there is a NaN (then the maximum means nothing).
struct Top {
  float maximum;
  bool nan;
};
LATHE_INLINE Top top_of_row(const float* x, int64_t count) {
  const F32 least = splat(-__builtin_inff());
  F32 top[2] = {least, least};
  bool nan = false;
  int64_t i = 0;
  for (; i + 2 * kWidth <= count; i += 2 * kWidth) {
    const F32 a = load(x + i);
    const F32 b = load(x + i + kWidth);
    top[0] = max(a, top[0]);
    top[1] = max(b, top[1]);
    nan |= any_nan(max(a, b)) | any_nan(max(b, a));
  }
  for (; i < count; i += kWidth) {
    const int rest = count - i < kWidth ? int(count - i) : kWidth;
    const F32 a = keep_first(rest == kWidth ? load(x + i) : load_part(x + i, rest), rest, least);
    top[0] = max(a, top[0]);
    nan |= any_nan(a);
  }
  return {max_lanes(max(top[0], top[1])), nan};
}

// Double arithmetic throughout: the float angle is exact, and so is all but the last rounding of the result.
void rotary_table(const int32_t* positions, int64_t count, const float* inv_freq, int64_t half, float scale,
                  float* __restrict cos_out, float* __restrict sin_out) noexcept {
  for (int64_t t = 0; t < count; ++t) {
    const float position = float(positions[t]);
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(position * inv_freq[i]);
      // angle = n pi/2 + r, |r| <= pi/4; adding 1.5 * 2^52 rounds to a whole number and leaves it in the low
      // bits.
      const double shifted = angle * 0x1.45f306dc9c883p-1 + 0x1.8p52;
      const double n = shifted - 0x1.8p52;
      int64_t bits;
      __builtin_memcpy(&bits, &shifted, sizeof(bits));
      // The first part of pi/2 has 33 bits, so its product with n is exact up to n = 2^20, and close enough
      // beyond.
      const double r = (angle - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34;
      const double z = r * r;
      // Taylor series; the first term left out is below 4e-14.
      const double s =
          r +
          r * z *
              (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 - z * (1.0 / 39916800)))));
      const double c =
          1.0 +
          z * (-0.5 + z * (1.0 / 24 + z * (-1.0 / 720 +
                                           z * (1.0 / 40320 - z * (1.0 / 3628800 - z * (1.0 / 479001600))))));
      const bool swap = (bits & 1) != 0;
      const double cosine = swap ? s : c;
      const double sine = swap ? c : s;
      // Quadrants 1 and 2 have negative cosines, 2 and 3 negative sines.
      cos_out[t * half + i] = float(((bits + 1) & 2) != 0 ? -cosine : cosine) * scale;
      sin_out[t * half + i] = float((bits & 2) != 0 ? -sine : sine) * scale;
    }
  }
}

void add_rows(const float* a, const float* b, int64_t count, float* y) noexcept {
  map(count, y, [=](auto get) { return add(get(a), get(b)); });
}

void mul_rows(const float* a, const float* b, int64_t count, float* y) noexcept {
  map(count, y, [=](auto get) { return mul(get(a), get(b)); });
}

void rms_norm(const float* x, int64_t rows, int64_t columns, const float* scale, float epsilon,
              float* y) noexcept {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const float square = sum_row(x, columns, [](F32 v) { return mul(v, v); });
    const F32 factor = splat(1.0f / sqrtf(square / float(columns) + epsilon));
    if (scale)
      map(columns, y, [=](auto get) { return mul(mul(get(x), factor), get(scale)); });
    else
      map(columns, y, [=](auto get) { return mul(get(x), factor); });
  }
}

void layer_norm(const float* x, int64_t rows, int64_t columns, const float* scale, const float* bias,
                float epsilon, float* y) noexcept {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const F32 mean = splat(sum_row(x, columns, [](F32 v) { return v; }) / float(columns));
    const float square = sum_row(x, columns, [=](F32 v) { return mul(sub(v, mean), sub(v, mean)); });
    const F32 factor = splat(1.0f / sqrtf(square / float(columns) + epsilon));
    map(columns, y, [=](auto get) {
      F32 v = mul(sub(get(x), mean), factor);
      if (scale) v = mul(v, get(scale));
      if (bias) v = add(v, get(bias));
      return v;
    });
  }
}

void softmax(const float* x, int64_t rows, int64_t columns, float* y) noexcept {
  for (int64_t r = 0; r < rows; ++r, x += columns, y += columns) {
    const F32 top = splat(top_of_row(x, columns).maximum);  // a NaN is lost here and comes back in exp
    map(columns, y, [=](auto get) { return exp(sub(get(x), top)); });
    const F32 sum = splat(sum_row(y, columns, [](F32 v) { return v; }));
    map(columns, y, [=](auto get) { return div(get(y), sum); });
  }
}

void silu(const float* x, int64_t count, float* y) noexcept {
  map(count, y, [=](auto get) {
    const F32 v = get(x);
    return div(v, add(splat(1.0f), exp(sub(zero(), v))));
  });
}

void gelu(const float* x, int64_t count, float* y) noexcept {
  map(count, y, [=](auto get) {
    const F32 v = get(x);
    return mul(v, half_erfc(mul(v, splat(-0.707106781f))));
  });
}

void gelu_tanh(const float* x, int64_t count, float* y) noexcept {
  map(count, y, [=](auto get) {
    // (1 + tanh(u)) / 2 = 1 / (1 + e^(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    const F32 v = get(x);
    const F32 u = mul(v, fma(mul(v, v), splat(0.044715f), splat(1.0f)));
    return div(v, add(splat(1.0f), exp(mul(u, splat(-1.595769122f)))));
  });
}

int64_t argmax(const float* x, int64_t count) noexcept {
  if (count <= 0) return -1;
  const Top top = top_of_row(x, count);
  if (top.nan) return -1;
  const F32 wanted = splat(top.maximum);
  for (int64_t i = 0; i < count; i += kWidth) {
    const int rest = count - i < kWidth ? int(count - i) : kWidth;
    uint32_t lanes = equal_lanes(rest == kWidth ? load(x + i) : load_part(x + i, rest), wanted);
    lanes &= (1u << rest) - 1;
    if (lanes) return i + __builtin_ctz(lanes);
  }
  return -1;
}

double log_sum_exp(const float* x, int64_t count) noexcept {
  const Top top = top_of_row(x, count);
  if (top.nan) return __builtin_nan("");
  if (top.maximum == -__builtin_inff() || top.maximum == __builtin_inff()) return double(top.maximum);
  const F32 shift = splat(top.maximum);
  constexpr int64_t kPart = 1024;  // terms added in float, where the error of the sum stays below 1e-6
  double sum = 0;
  for (int64_t i = 0; i < count; i += kPart) {
    const int64_t part = count - i < kPart ? count - i : kPart;
    sum += double(sum_row(x + i, part, [=](F32 v) { return exp(sub(v, shift)); }));
  }
  return double(top.maximum) + log(sum);
}

int64_t find_not_finite(const float* x, int64_t count) noexcept {
  for (int64_t i = 0; i < count; i += kWidth) {
    const int rest = count - i < kWidth ? int(count - i) : kWidth;
    const uint32_t lanes = not_finite_lanes(rest == kWidth ? load(x + i) : load_part(x + i, rest));
    if (lanes) return i + __builtin_ctz(lanes);
  }
  return -1;
}

}  // namespace

const ElementwiseKernels elementwise_kernels = {.rotary_table = rotary_table,
                                                .add = add_rows,
                                                .mul = mul_rows,
                                                .rms_norm = rms_norm,
                                                .layer_norm = layer_norm,
                                                .softmax = softmax,
                                                .silu = silu,
                                                .gelu = gelu,
                                                .gelu_tanh = gelu_tanh,
                                                .argmax = argmax,
                                                .log_sum_exp = log_sum_exp,
                                                .find_not_finite = find_not_finite};

}  // namespace lathe::backend::cpu::LATHE_TIER
