// The transforms of F(4x4, 3x3) of one tier, a vector of channels at a time.
#include "backend/cpu/winograd.h"

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// B' x for six values, in place of a matrix product: the rows of B' are
//   4 0 -5 0 1 0 | 0 -4 -4 1 1 0 | 0 4 -4 -1 1 0 | 0 -2 -1 2 1 0 | 0 2 -1 -2 1 0 | 0 4 0 -5 0 1
inline void input_line(const F32 (&x)[6], F32 (&y)[6]) {
  const F32 four = splat(4.0f), five = splat(5.0f), two = splat(2.0f);
  const F32 even = fnma(four, x[2], x[4]);   // x4 - 4 x2
  const F32 odd = fnma(four, x[1], x[3]);    // x3 - 4 x1
  const F32 even2 = sub(x[4], x[2]);         // x4 - x2
  const F32 odd2 = mul(two, sub(x[3], x[1]));  // 2 (x3 - x1)
  y[0] = fma(four, x[0], fnma(five, x[2], x[4]));
  y[1] = add(even, odd);
  y[2] = sub(even, odd);
  y[3] = add(even2, odd2);
  y[4] = sub(even2, odd2);
  y[5] = fma(four, x[1], fnma(five, x[3], x[5]));
}

// A' x: 1 1 1 1 1 0 | 0 1 -1 2 -2 0 | 0 1 1 4 4 0 | 0 1 -1 8 -8 1
inline void output_line(const F32 (&x)[6], F32 (&y)[4]) {
  const F32 sum1 = add(x[1], x[2]), difference1 = sub(x[1], x[2]);
  const F32 sum2 = add(x[3], x[4]), difference2 = sub(x[3], x[4]);
  y[0] = add(x[0], add(sum1, sum2));
  y[1] = fma(splat(2.0f), difference2, difference1);
  y[2] = fma(splat(4.0f), sum2, sum1);
  y[3] = add(x[5], fma(splat(8.0f), difference2, difference1));
}

inline F32 get(const float* p, int lanes) {
  return lanes == kWidth ? load(p) : load_part(p, lanes);
}

void input_block(const float* const* rows, int64_t c, int lanes, float* v, int64_t stride) {
  F32 half[6][6];  // [column][row of B']
  for (int j = 0; j < 6; ++j) {
    F32 column[6];
    for (int i = 0; i < 6; ++i) column[i] = get(rows[i * 6 + j] + c, lanes);
    input_line(column, half[j]);
  }
  for (int i = 0; i < 6; ++i) {
    F32 row[6], out[6];
    for (int j = 0; j < 6; ++j) row[j] = half[j][i];
    input_line(row, out);
    for (int j = 0; j < 6; ++j) {
      float* at = v + (i * 6 + j) * stride + c;
      if (lanes == kWidth)
        store(at, out[j]);
      else
        store_part(at, out[j], lanes);
    }
  }
}

constexpr int64_t kLanes = 16;
constexpr double kG[6][3] = {{1.0 / 4, 0, 0},
                             {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                             {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                             {1.0 / 24, 1.0 / 12, 1.0 / 6},
                             {1.0 / 24, -1.0 / 12, 1.0 / 6},
                             {0, 0, 1}};

// sums[j] = 0 + a[0] x[0][j] + a[1] x[1][j] + a[2] x[2][j], in this order: transform_kernel is the same to the bit.
inline void combine(const double (&a)[3], const double* x0, const double* x1, const double* x2, double* sums) {
  for (int64_t j = 0; j < kLanes; ++j) sums[j] = 0 + a[0] * x0[j] + a[1] * x1[j] + a[2] * x2[j];
}

void weights(const float* kernels, int64_t stride, int64_t count, float* out, int64_t out_stride) {
  alignas(64) double g[9][kLanes] = {};
  for (int64_t j = 0; j < count; ++j) {
    for (int k = 0; k < 9; ++k) g[k][j] = double(kernels[j * stride + k]);
  }
  alignas(64) double half[6][3][kLanes];
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) combine(kG[i], g[j], g[3 + j], g[6 + j], half[i][j]);
  }
  alignas(64) double sums[kLanes];
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 6; ++j) {
      combine(kG[j], half[i][0], half[i][1], half[i][2], sums);
      float* plane = out + (i * 6 + j) * out_stride;
      for (int64_t lane = 0; lane < kLanes; ++lane) plane[lane] = float(sums[lane]);
    }
  }
}

void input(const float* const* rows, int64_t count, float* v, int64_t stride) {
  int64_t c = 0;
  for (; c + kWidth <= count; c += kWidth) input_block(rows, c, kWidth, v, stride);
  if (c < count) input_block(rows, c, int(count - c), v, stride);
}

void output(const float* m, int64_t stride, int64_t count, float* out, int64_t out_stride) {
  for (int64_t c = 0; c < count; c += kWidth) {
    F32 half[6][4];  // [column][row of A']
    for (int j = 0; j < 6; ++j) {
      F32 column[6];
      for (int i = 0; i < 6; ++i) column[i] = load(m + (i * 6 + j) * stride + c);
      output_line(column, half[j]);
    }
    for (int i = 0; i < 4; ++i) {
      F32 row[6], y[4];
      for (int j = 0; j < 6; ++j) row[j] = half[j][i];
      output_line(row, y);
      for (int j = 0; j < 4; ++j) store(out + (i * 4 + j) * out_stride + c, y[j]);
    }
  }
}

// G x: 1/4 0 0 | -1/6 -1/6 -1/6 | -1/6 1/6 -1/6 | 1/24 1/12 1/6 | 1/24 -1/12 1/6 | 0 0 1
inline void weights_line(const F32 (&x)[3], F32 (&y)[6]) {
  const F32 sixth = splat(1.0f / 6), outer = mul(splat(-1.0f / 6), add(x[0], x[2]));
  const F32 far = fma(splat(1.0f / 24), x[0], mul(sixth, x[2]));
  const F32 middle = mul(sixth, x[1]), half = mul(splat(1.0f / 12), x[1]);
  y[0] = mul(splat(0.25f), x[0]);
  y[1] = sub(outer, middle);
  y[2] = add(outer, middle);
  y[3] = add(far, half);
  y[4] = sub(far, half);
  y[5] = x[2];
}

void panel_weights(const float* panel, int64_t channels, float* u, int64_t stride) {
  for (int64_t at = 0; at < channels * 16; at += kWidth) {
    F32 half[3][6];  // [column][row of G]
    for (int j = 0; j < 3; ++j) {
      F32 column[3];
      for (int i = 0; i < 3; ++i) column[i] = load(panel + (i * 3 + j) * channels * 16 + at);
      weights_line(column, half[j]);
    }
    for (int i = 0; i < 6; ++i) {
      F32 row[3], out[6];
      for (int j = 0; j < 3; ++j) row[j] = half[j][i];
      weights_line(row, out);
      for (int j = 0; j < 6; ++j) store(u + (i * 6 + j) * stride + at, out[j]);
    }
  }
}

}  // namespace

extern const WinogradTier kWinogradTier;
const WinogradTier kWinogradTier = {input, output, weights, panel_weights};

}  // namespace lathe::backend::cpu::LATHE_TIER
