// What a step needs beside products and attention: norms, sums and products by element, rows of tables, rotary tables.
#pragma once

#include "backend/cuda/kernels/formats.h"
#include "backend/cuda/kernels/linear_decode.h"  // sum_of_block

namespace lathe::backend::cuda {

constexpr int kRowThreads = kDecodeThreads;

template <class Out>
struct Normalise {
  Global<const float> x;  // [tokens][columns]
  int columns;
  NormKind norm;
  Global<const float> scale;  // [columns] with a norm
  Global<const float> bias;   // [columns] or null
  float epsilon;
  Rounding rounding;  // none where Out is float
  Global<Out> y;      // [tokens][columns]
};

template <class Out>
LATHE_DEVICE Out narrow_to(float x, Rounding rounding);
template <>
LATHE_DEVICE float narrow_to<float>(float x, Rounding) {
  return x;
}
template <>
LATHE_DEVICE uint16_t narrow_to<uint16_t>(float x, Rounding rounding) {
  return rounding == Rounding::f16 ? to_f16(x) : to_bf16(x);
}

// Blocks: x of tokens.
template <class Out>
LATHE_KERNEL void normalise(Normalise<Out> call) {
  LATHE_SHARED(float, scratch, kRowThreads / 32);
  const int64_t row = int64_t(block_x()) * call.columns;
  float mean = 0, inverse = 1;
  if (call.norm == NormKind::layer) {
    float sum = 0;
    for (int c = int(thread()); c < call.columns; c += kRowThreads) sum += call.x[row + c];
    mean = sum_of_block(sum, scratch) / float(call.columns);
  }
  if (call.norm != NormKind::none) {
    float sum = 0;
    for (int c = int(thread()); c < call.columns; c += kRowThreads) {
      const float away = call.x[row + c] - mean;
      sum = fma_of(away, away, sum);
    }
    inverse = inverse_sqrt(sum_of_block(sum, scratch) / float(call.columns) + call.epsilon);
  }
  for (int c = int(thread()); c < call.columns; c += kRowThreads) {
    float value = call.x[row + c];
    if (call.norm != NormKind::none) value = (value - mean) * inverse * call.scale[c];
    if (call.bias) value += call.bias[c];
    call.y[row + c] = narrow_to<Out>(value, call.rounding);
  }
}

struct Combine {
  Global<const float> a, b;      // [count]
  Global<const float> residual;  // or null
  Global<float> y;
  int64_t count;
  int multiplies;  // else adds
};

// Blocks: x of kRowThreads elements each; they go on where the last one ends.
LATHE_KERNEL void combine(Combine call) {
  const int64_t step = int64_t(blocks_x()) * kRowThreads;
  for (int64_t i = int64_t(block_x()) * kRowThreads + thread(); i < call.count; i += step) {
    const float a = call.a[i], b = call.b[i];
    float value = call.multiplies ? a * b : a + b;
    if (call.residual) value += call.residual[i];
    call.y[i] = value;
  }
}

struct PlaceColumns {
  Global<const float> x;  // [tokens][columns]
  Global<float> y;        // [tokens][y_stride]
  int columns;
  int y_stride;
  int y_first;
};

// Blocks: x of tokens.
LATHE_KERNEL void place_columns(PlaceColumns call) {
  const int64_t from = int64_t(block_x()) * call.columns, to = int64_t(block_x()) * call.y_stride + call.y_first;
  for (int c = int(thread()); c < call.columns; c += kRowThreads) call.y[to + c] = call.x[from + c];
}

template <class Format>
struct LookUp {
  Global<const int64_t> rows;  // [count]
  Global<const typename Format::Stored> table;
  Global<float> y;  // [count][columns]
  int columns;
};

// Blocks: x of rows.
template <class Format>
LATHE_KERNEL void look_up(LookUp<Format> call) {
  const int64_t from = call.rows[block_x()] * call.columns, to = int64_t(block_x()) * call.columns;
  for (int c = int(thread()); c < call.columns; c += kRowThreads) call.y[to + c] = Format::widen(call.table[from + c]);
}

struct RotaryTable {
  Global<const int64_t> positions;  // [tokens]
  Global<const float> frequencies;  // [half], without a base
  Global<float> cos, sin;           // [tokens][half]
  int half;
  float scale;
  double base;  // 0: none
};

// Blocks: x of tokens.
LATHE_KERNEL void rotary_table(RotaryTable call) {
  const float position = float(call.positions[block_x()]);
  for (int i = int(thread()); i < call.half; i += kRowThreads) {
    // As frequencies are computed where they are constants: the exponent in float, the power in double.
    float frequency;
    if (call.base > 0)
      frequency = 1.0f / float(power_of(call.base, double(float(2 * i) / float(2 * call.half))));
    else
      frequency = call.frequencies[i];
    const float angle = position * frequency;
    const int64_t place = int64_t(block_x()) * call.half + i;
    call.cos[place] = cos_of(angle) * call.scale;
    call.sin[place] = sin_of(angle) * call.scale;
  }
}

}  // namespace lathe::backend::cuda
