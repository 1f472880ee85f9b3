// y = function(norm(x) W' + bias) + residual for a few tokens: weights are read once, sixteen bytes a lane, and every
// token's sum of a row is one chain of multiply-adds in the same order, however many tokens are with it.
#pragma once

#include "backend/cuda/kernels/formats.h"

namespace lathe::backend::cuda {

constexpr int kDecodeThreads = 256;
constexpr int kDecodeRowsPerWarp = 2;
constexpr int kDecodeRows = kDecodeThreads / 32 * kDecodeRowsPerWarp;  // of a block
constexpr int kDecodeTokens = 4;                                       // of a block, at the most

template <class Format>
struct LinearDecode {
  Global<const float> x;  // [tokens][columns]
  int tokens;
  int columns;
  NormKind norm;
  Global<const float> norm_scale;  // [columns], with a norm
  Global<const float> norm_bias;   // [columns] or null
  float epsilon;
  Rounding rounding;
  Global<const typename Format::Stored> weights;  // [rows][columns]
  Global<const typename Format::Stored> gate;     // the same, where the function is one of two parts
  Global<const float> bias;                       // [rows] or null
  Global<const float> gate_bias;
  int rows;
  Function function;
  Global<const float> residual;  // [tokens][y_stride] or null; may be y itself
  Global<float> y;               // [tokens][y_stride], this part from y_first on
  int y_stride;
  int y_first;
};

// Blocks: x of kDecodeRows rows, y of kDecodeTokens tokens. Dynamic shared memory: kTokens x columns floats.
inline unsigned linear_decode_blocks(int rows) {
  return unsigned((rows + kDecodeRows - 1) / kDecodeRows);
}

// The sum over a block, for all its threads. `scratch`: a float for each warp.
LATHE_DEVICE float sum_of_block(float x, const SharedView<float>& scratch) {
  x = sum_of_warp(x);
  if (lane() == 0) scratch[warp()] = x;
  sync_block();
  float sum = 0;
  for (int w = 0; w < kDecodeThreads / 32; ++w) sum += scratch[w];
  sync_block();
  return sum;
}

// Token `t` of the block normalised and rounded, in shared memory.
template <class Format>
LATHE_DEVICE void stage_token(const LinearDecode<Format>& call, int token, const SharedView<float>& staged,
                              const SharedView<float>& scratch) {
  const Global<const float> x = call.x + int64_t(token) * call.columns;
  float mean = 0, inverse = 1;
  if (call.norm == NormKind::layer) {
    float sum = 0;
    for (int c = int(thread()); c < call.columns; c += kDecodeThreads) sum += x[c];
    mean = sum_of_block(sum, scratch) / float(call.columns);
  }
  if (call.norm != NormKind::none) {
    float sum = 0;
    for (int c = int(thread()); c < call.columns; c += kDecodeThreads) {
      const float away = x[c] - mean;
      sum = fma_of(away, away, sum);
    }
    inverse = inverse_sqrt(sum_of_block(sum, scratch) / float(call.columns) + call.epsilon);
  }
  for (int c = int(thread()); c < call.columns; c += kDecodeThreads) {
    float value = x[c];
    if (call.norm != NormKind::none) value = (value - mean) * inverse * call.norm_scale[c];
    if (call.norm_bias) value += call.norm_bias[c];
    staged[c] = rounded(value, call.rounding);
  }
}

// sums[r][t] of a warp's rows; complete in every lane. Rows beyond the last repeat it.
template <class Format, bool kVector, int kTokens>
LATHE_DEVICE void multiply_rows(const LinearDecode<Format>& call, const Global<const typename Format::Stored>& weights,
                                int first_row, const SharedView<float>& staged, float (*sums)[kTokens]) {
  constexpr int kStep = kVector ? Format::kInQuad : 1;
  LATHE_UNROLL
  for (int r = 0; r < kDecodeRowsPerWarp; ++r) {
    LATHE_UNROLL
    for (int t = 0; t < kTokens; ++t) sums[r][t] = 0;
  }
  for (int c = int(lane()) * kStep; c < call.columns; c += 32 * kStep) {
    LATHE_UNROLL
    for (int r = 0; r < kDecodeRowsPerWarp; ++r) {
      const int row = first_row + r < call.rows ? first_row + r : call.rows - 1;
      float w[kStep];
      if constexpr (kVector) {
        Format::widen(load<Quad>(weights, int64_t(row) * call.columns + c), w);
      } else {
        w[0] = Format::widen(weights[int64_t(row) * call.columns + c]);
      }
      LATHE_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        LATHE_UNROLL
        for (int i = 0; i < kStep; ++i) {
          const float x = staged[t * call.columns + c + i];
          sums[r][t] = fma_of(w[i], x, sums[r][t]);
        }
      }
    }
  }
  LATHE_UNROLL
  for (int r = 0; r < kDecodeRowsPerWarp; ++r) {
    LATHE_UNROLL
    for (int t = 0; t < kTokens; ++t) sums[r][t] = sum_of_warp(sums[r][t]);
  }
}

// kVector: columns are a multiple of Format::kInQuad. kTokens: of this launch, 1 to kDecodeTokens.
template <class Format, bool kVector, int kTokens>
LATHE_KERNEL void linear_decode(LinearDecode<Format> call) {
  LATHE_DYNAMIC_SHARED(float, staged);
  LATHE_SHARED(float, scratch, kDecodeThreads / 32);
  const int first_token = int(block_y()) * kTokens;
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const int token = first_token + t < call.tokens ? first_token + t : call.tokens - 1;
    stage_token(call, token, staged + t * call.columns, scratch);
  }
  sync_block();
  const int first_row = (int(block_x()) * (kDecodeThreads / 32) + int(warp())) * kDecodeRowsPerWarp;
  float sums[kDecodeRowsPerWarp][kTokens], gates[kDecodeRowsPerWarp][kTokens];
  multiply_rows<Format, kVector, kTokens>(call, call.weights, first_row, staged, sums);
  if (call.gate) multiply_rows<Format, kVector, kTokens>(call, call.gate, first_row, staged, gates);
  // One lane for each result.
  LATHE_UNROLL
  for (int r = 0; r < kDecodeRowsPerWarp; ++r) {
    LATHE_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const int row = first_row + r, token = first_token + t;
      if (int(lane()) != r * kTokens + t || row >= call.rows || token >= call.tokens) continue;
      float value = sums[r][t];
      if (call.bias) value += call.bias[row];
      value = apply(call.function, value);
      if (call.gate) value *= gates[r][t] + (call.gate_bias ? float(call.gate_bias[row]) : 0.0f);
      const int64_t place = int64_t(token) * call.y_stride + call.y_first + row;
      if (call.residual) value += call.residual[place];
      call.y[place] = value;
    }
  }
}

}  // namespace lathe::backend::cuda
