// Activations in front of products with block-quantised weights: normalised, then rounded to floats or to integers
// with a scale for each block of 32 columns, as backend/cpu/linear.h defines it.
#pragma once

#include "backend/cuda/kernels/block_formats.h"
#include "backend/cuda/kernels/linear_decode.h"

namespace lathe::backend::cuda {

// The norm of a token: mean and the inverse of its deviation, for all threads of the block.
struct Moments {
  float mean, inverse;
};
LATHE_DEVICE Moments moments_of(const Global<const float>& x, int columns, NormKind norm, float epsilon,
                                const SharedView<float>& scratch) {
  Moments moments = {0, 1};
  if (norm == NormKind::none) return moments;
  if (norm == NormKind::layer) {
    float sum = 0;
    for (int c = int(thread()); c < columns; c += kDecodeThreads) sum += x[c];
    moments.mean = sum_of_block(sum, scratch) / float(columns);
  }
  float sum = 0;
  for (int c = int(thread()); c < columns; c += kDecodeThreads) {
    const float away = x[c] - moments.mean;
    sum = fma_of(away, away, sum);
  }
  moments.inverse = inverse_sqrt(sum_of_block(sum, scratch) / float(columns) + epsilon);
  return moments;
}

// What norms a token: null scale for none.
struct NormOf {
  NormKind kind;
  Global<const float> scale;  // [columns], with a norm
  Global<const float> bias;   // [columns] or null
  float epsilon;
};
LATHE_DEVICE float normalised(float x, int column, const Moments& moments, const NormOf& norm) {
  if (norm.kind != NormKind::none) x = (x - moments.mean) * moments.inverse * norm.scale[column];
  if (norm.bias) x += norm.bias[column];
  return x;
}

// A block of 32 numbers, one in each lane, as integers up to kLargest.
struct Rounded {
  int code;
  float scale;  // the same in all lanes; a NaN among the numbers makes it one
  float sum;    // of the block's codes times the scale
};
template <int kLargest>
LATHE_DEVICE Rounded round_block(float value) {
  const float magnitude = largest_of_warp(value < 0 ? -value : value);
  const float inverse = magnitude >= 0x1p-120f ? float(kLargest) / magnitude : 0.0f;
  Rounded rounded = {nearest_int(value * inverse), magnitude / float(kLargest), 0};
  if (ballot(value != value) != 0) rounded.scale = float_of_bits(0x7fc00000u);
  rounded.sum = sum_of_warp(float(rounded.code)) * rounded.scale;  // below 2^24: exact
  return rounded;
}

// Where the column of this lane lies among the eight numbers of its row's lane: lane `quarter` of four, word `half`.
struct ColumnPlace {
  int quarter, half, byte;
};
LATHE_DEVICE ColumnPlace column_place(int column) {
  return {column % 8 / 2, column / 16, column / 8 % 2 + column % 2 * 2};
}

}  // namespace lathe::backend::cuda
