// y = function(norm(x) W' + bias) + residual for a few tokens on block-quantised weights (block_shape.h), which stream
// through once, sixteen bytes a lane: a warp has eight rows, four lanes each, or a share of their spans.
//
// Activations are floats, or integers of 8 or 16 bits with a scale a block, whose products with a lane's codes are
// exact (dp4a, dp2a); scales multiply sums, never codes. How columns are shared out depends on the matrix alone, so
// that a token's bits do not depend on how many are with it.
#pragma once

#include "backend/cuda/kernels/activations.h"

namespace lathe::backend::cuda {

constexpr int kDecodeWarps = kDecodeThreads / 32;

struct LinearDecodeBlocks {
  Global<const float> x;  // [tokens][columns]
  int tokens;
  int columns;
  NormOf norm;
  Rounding rounding;              // of float activations
  Global<const uint8_t> weights;  // groups of rows, as packed
  Global<const uint8_t> gate;     // the same, where the function is one of two parts
  Global<const float> bias;       // [rows] or null
  Global<const float> gate_bias;
  int rows;
  int split;  // warps that share a group: 1, 2, 4 or 8
  Function function;
  Global<const float> residual;  // [tokens][y_stride] or null; may be y itself
  Global<float> y;               // [tokens][y_stride], this part from y_first on
  int y_stride;
  int y_first;
};

// Warps that share a group's columns, so that enough of them run: of the matrix alone.
inline int decode_split(int rows, int columns) {
  constexpr int kEnough = 2048;  // warps
  const int groups = (rows + kGroupRows - 1) / kGroupRows, spans = (columns + kSpanColumns - 1) / kSpanColumns;
  int split = 1;
  while (split < kDecodeWarps && 2 * split <= spans && groups * split < kEnough) split *= 2;
  return split;
}
// Blocks: as many as have work, up to so many that a large GPU is full. Each stages activations once and takes groups
// one after another.
inline unsigned decode_blocks(int rows, int split) {
  constexpr int kMost = 528;
  const int at_once = kDecodeWarps / split * kGroupRows, blocks = (rows + at_once - 1) / at_once;
  return unsigned(blocks < kMost ? blocks : kMost);
}

// Activations in shared memory. A token is its numbers, then for each block of 32 its scale and its sum, sixteen bytes
// or a multiple. Numbers lie as lanes multiply them: those of block b and quarter q at 32 b + 8 q.
LATHE_ANYWHERE constexpr int token_bytes(int columns, int number_bytes) {
  return columns * number_bytes + (columns / kBlockColumns + 1) / 2 * 16;
}
// In front of them what each warp keeps, of products and of gates.
LATHE_ANYWHERE constexpr int sums_bytes(int tokens) {
  return 2 * kDecodeWarps * tokens * kGroupRows * int(sizeof(float));
}

struct FloatNumbers {
  static constexpr int kBytes = 4;
  // Lane: a column of block `b`.
  static LATHE_DEVICE void put(const SharedView<uint8_t>& token, int columns, int b, float value, Rounding rounding) {
    const ColumnPlace place = column_place(int(lane()));
    value = rounded(value, rounding);
    store<float>(token, (b * 32 + place.quarter * 8 + place.half * 4 + place.byte) * 4, value);
    const float sum = sum_of_warp(value);
    if (lane() == 0) store<float>(token, columns * kBytes + b * 8 + 4, sum);
  }

  // Adds the products of a lane's codes of block `b` of the span to the sums of each token.
  template <class Shape, int kTokens>
  static LATHE_DEVICE void multiply(const LaneCodes<Shape>& codes, const RowScales<Shape>& scales, int b,
                                    const SharedView<uint8_t>& staged, int columns, int block, float* sums) {
    LATHE_UNROLL
    for (int e = 0; e < 2; ++e) {
      float w[4];
      float_word(codes, b, e, w);
      const float scale = scales.scale[Shape::kScaleColumns == 16 ? 2 * b + e : b];
      LATHE_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        const int at = t * token_bytes(columns, kBytes) + (block * 32 + int(lane()) % 4 * 8 + e * 4) * 4;
        const Quad x = load<Quad>(staged, at);
        float dot = w[0] * float_of_bits(x.words[0]);
        LATHE_UNROLL
        for (int i = 1; i < 4; ++i) dot = fma_of(w[i], float_of_bits(x.words[i]), dot);
        sums[t] = fma_of(scale, dot, sums[t]);
      }
    }
  }
};

template <int kBits>
struct IntegerNumbers {
  static constexpr int kBytes = kBits / 8;
  static LATHE_DEVICE void put(const SharedView<uint8_t>& token, int columns, int b, float value, Rounding) {
    const ColumnPlace place = column_place(int(lane()));
    const Rounded block = round_block<(1 << (kBits - 1)) - 1>(value);
    const int at = (b * 32 + place.quarter * 8 + place.half * 4 + place.byte) * kBytes;
    if constexpr (kBits == 8)
      store<uint8_t>(token, at, uint8_t(block.code));
    else
      store<uint16_t>(token, at, uint16_t(block.code));
    if (lane() != 0) return;
    store<float>(token, columns * kBytes + b * 8, block.scale);
    store<float>(token, columns * kBytes + b * 8 + 4, block.sum);
  }

  static LATHE_DEVICE int dot(const uint32_t* x, int e, uint32_t w, int sum) {
    if constexpr (kBits == 8) return dot_bytes(x[e], w, sum);
    return dot_halves(x[2 * e], x[2 * e + 1], w, sum);
  }

  template <class Shape, int kTokens>
  static LATHE_DEVICE void multiply(const LaneCodes<Shape>& codes, const RowScales<Shape>& scales, int b,
                                    const SharedView<uint8_t>& staged, int columns, int block, float* sums) {
    const uint32_t w[2] = {signed_word(codes, b, 0), signed_word(codes, b, 1)};
    LATHE_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const int token = t * token_bytes(columns, kBytes), at = token + (block * 32 + int(lane()) % 4 * 8) * kBytes;
      uint32_t x[2 * kBytes];
      if constexpr (kBits == 8) {
        const WordPair pair = load<WordPair>(staged, at);
        for (int i = 0; i < 2; ++i) x[i] = pair.words[i];
      } else {
        const Quad quad = load<Quad>(staged, at);
        for (int i = 0; i < 4; ++i) x[i] = quad.words[i];
      }
      const float scale = load<float>(staged, token + columns * kBytes + block * 8);
      if constexpr (Shape::kScaleColumns == 16) {
        LATHE_UNROLL
        for (int e = 0; e < 2; ++e)
          sums[t] = fma_of(float(dot(x, e, w[e], 0)), scales.scale[2 * b + e] * scale, sums[t]);
      } else {
        sums[t] = fma_of(float(dot(x, 1, w[1], dot(x, 0, w[0], 0))), scales.scale[b] * scale, sums[t]);
      }
    }
  }
};

template <class Numbers>
LATHE_DEVICE void stage_blocks(const LinearDecodeBlocks& call, int token, const SharedView<uint8_t>& staged,
                               const SharedView<float>& scratch) {
  const Global<const float> x = call.x + int64_t(token) * call.columns;
  const Moments moments = moments_of(x, call.columns, call.norm.kind, call.norm.epsilon, scratch);
  for (int b = int(warp()); b < call.columns / kBlockColumns; b += kDecodeWarps) {
    const int column = b * kBlockColumns + int(lane());
    Numbers::put(staged, call.columns, b, normalised(x[column], column, moments, call.norm), call.rounding);
  }
}

// Adds the minima of a span's blocks, each by one of the row's four lanes.
template <class Shape, class Numbers, int kTokens>
LATHE_DEVICE void add_minima(const RowScales<Shape>& scales, const SharedView<uint8_t>& staged, int columns, int span,
                             int blocks, float* sums) {
  const int quarter = int(lane()) % 4;
  float own = scales.minimum[0];
  LATHE_UNROLL
  for (int b = 1; b < kSpanBlocks; ++b) own = quarter == b ? scales.minimum[b] : own;
  if (quarter >= blocks) return;
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const int token = t * token_bytes(columns, Numbers::kBytes) + columns * Numbers::kBytes;
    sums[t] = fma_of(own, load<float>(staged, token + (span * kSpanBlocks + quarter) * 8 + 4), sums[t]);
  }
}

// What a lane reads of a span.
template <class Shape>
struct SpanData {
  LaneCodes<Shape> codes;
  StoredScales<Shape> scales;
};
template <class Shape>
LATHE_DEVICE SpanData<Shape> read_data(const Global<const uint8_t>& group, const SpanPlace& place) {
  return {read_span<Shape>(group, place), read_scales<Shape>(group, place, int(lane()) / 4)};
}

// Adds the products of one span of `blocks` blocks.
template <class Shape, class Numbers, int kTokens>
LATHE_DEVICE void multiply_span(const SpanData<Shape>& data, int columns, int span, int blocks,
                                const SharedView<uint8_t>& staged, float* sums) {
  const RowScales<Shape> scales = scales_of(data.scales, span % Shape::kSpans);
  LATHE_UNROLL
  for (int b = 0; b < kSpanBlocks; ++b) {
    if (b >= blocks) continue;
    Numbers::template multiply<Shape, kTokens>(data.codes, scales, b, staged, columns, span * kSpanBlocks + b, sums);
  }
  if constexpr (Shape::kHasMinima) {
    add_minima<Shape, Numbers, kTokens>(scales, staged, columns, span, blocks, sums);
  }
}

// The sums of a group's rows over spans first, first + split ...: of row lane / 4, the same in each of its four lanes.
// A span is on its way while the one before it is multiplied.
template <class Shape, class Numbers, int kTokens>
LATHE_DEVICE void multiply_group(const LinearDecodeBlocks& call, const Global<const uint8_t>& weights, int group,
                                 int first, const SharedView<uint8_t>& staged, float* sums) {
  const Global<const uint8_t> own = weights + int64_t(group) * group_bytes<Shape>(call.columns);
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) sums[t] = 0;
  const int whole = call.columns / kSpanColumns;
  int span = first;
  if (span < whole) {
    SpanData<Shape> next = read_data<Shape>(own, whole_span<Shape>(span));
    LATHE_LOOP
    for (; span < whole; span += call.split) {
      const SpanData<Shape> data = next;
      if (span + call.split < whole) next = read_data<Shape>(own, whole_span<Shape>(span + call.split));
      multiply_span<Shape, Numbers, kTokens>(data, call.columns, span, kSpanBlocks, staged, sums);
    }
  }
  if (!Shape::kIsSuper && span * kSpanColumns < call.columns) {
    const SpanPlace place = span_place<Shape>(call.columns, span);
    multiply_span<Shape, Numbers, kTokens>(read_data<Shape>(own, place), call.columns, span, place.blocks, staged,
                                           sums);
  }
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    sums[t] += shuffle_xor(sums[t], 1);
    sums[t] += shuffle_xor(sums[t], 2);
  }
}

// A group's sums into [kTokens][kGroupRows] of the warp.
template <int kTokens>
LATHE_DEVICE void keep_sums(const float* sums, const SharedView<float>& kept) {
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    if (int(lane()) % 4 == t) kept[(int(warp()) * kTokens + t) * kGroupRows + int(lane()) / 4] = sums[t];
  }
}

// The results of the groups from `first` on, one for each thread.
template <int kTokens>
LATHE_DEVICE void finish_groups(const LinearDecodeBlocks& call, int first, int first_token,
                                const SharedView<float>& kept, const SharedView<float>& kept_gate) {
  constexpr int kOfGroup = kTokens * kGroupRows;
  LATHE_LOOP
  for (int i = int(thread()); i < kDecodeWarps / call.split * kOfGroup; i += kDecodeThreads) {
    const int slot = i / kOfGroup, t = i % kOfGroup / kGroupRows;
    const int row = (first + slot) * kGroupRows + i % kGroupRows, token = first_token + t;
    if (row >= call.rows || token >= call.tokens) continue;
    float value = 0, gate = 0;
    for (int w = slot * call.split; w < (slot + 1) * call.split; ++w) {
      value += kept[w * kOfGroup + i % kOfGroup];
      if (call.gate) gate += kept_gate[w * kOfGroup + i % kOfGroup];
    }
    if (call.bias) value += call.bias[row];
    value = apply(call.function, value);
    if (call.gate) value *= gate + (call.gate_bias ? float(call.gate_bias[row]) : 0.0f);
    const int64_t place = int64_t(token) * call.y_stride + call.y_first + row;
    if (call.residual) value += call.residual[place];
    call.y[place] = value;
  }
}

// Blocks: x as many as there are to be, y of kTokens tokens (1 to 4). Dynamic shared memory: sums_bytes, then kTokens
// times token_bytes.
template <class Shape, class Numbers, int kTokens>
LATHE_KERNEL void linear_decode_blocks(LinearDecodeBlocks call) {
  LATHE_DYNAMIC_SHARED(float, kept);
  LATHE_DYNAMIC_SHARED(uint8_t, dynamic);
  LATHE_SHARED(float, scratch, kDecodeWarps);
  const SharedView<float> kept_gate = kept + kDecodeWarps * kTokens * kGroupRows;
  const SharedView<uint8_t> staged = dynamic + sums_bytes(kTokens);
  const int first_token = int(block_y()) * kTokens;
  LATHE_UNROLL
  for (int t = 0; t < kTokens; ++t) {
    const int token = first_token + t < call.tokens ? first_token + t : call.tokens - 1;
    stage_blocks<Numbers>(call, token, staged + t * token_bytes(call.columns, Numbers::kBytes), scratch);
  }
  sync_block();
  const int groups = (call.rows + kGroupRows - 1) / kGroupRows, at_once = kDecodeWarps / call.split;
  for (int first = int(block_x()) * at_once; first < groups; first += int(blocks_x()) * at_once) {
    const int group = first + int(warp()) / call.split, part = int(warp()) % call.split;
    LATHE_LOOP
    for (int gate = 0; group < groups && gate < (call.gate ? 2 : 1); ++gate) {
      float sums[kTokens];
      multiply_group<Shape, Numbers, kTokens>(call, gate ? call.gate : call.weights, group, part, staged, sums);
      keep_sums<kTokens>(sums, gate ? kept_gate : kept);
    }
    sync_block();
    finish_groups<kTokens>(call, first, first_token, kept, kept_gate);
    sync_block();  // what was kept is read before the next groups write theirs
  }
}

}  // namespace lathe::backend::cuda
