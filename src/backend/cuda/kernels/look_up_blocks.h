// Rows of a block-quantised matrix as floats: embeddings of tokens.
#pragma once

#include "backend/cuda/kernels/block_formats.h"

namespace lathe::backend::cuda {

constexpr int kLookUpThreads = 128;

struct LookUpBlocks {
  Global<const int64_t> rows;   // [count]
  Global<const uint8_t> table;  // groups of rows, as packed
  Global<float> y;              // [count][columns]
  int columns;
};

// Blocks: a row each. A warp reads a span of the whole group, as in products, and the four lanes of the row write it.
template <class Shape>
LATHE_KERNEL void look_up_blocks(LookUpBlocks call) {
  const int64_t row = call.rows[block_x()];
  const Global<const uint8_t> group = call.table + row / kGroupRows * group_bytes<Shape>(call.columns);
  const int within = int(row % kGroupRows), spans = (call.columns + kSpanColumns - 1) / kSpanColumns;
  for (int span = int(warp()); span < spans; span += kLookUpThreads / 32) {
    if (int(lane()) / 4 != within) continue;
    const SpanPlace place = span_place<Shape>(call.columns, span);
    const LaneCodes<Shape> codes = read_span<Shape>(group, place);
    const RowScales<Shape> scales = scales_of(read_scales<Shape>(group, place, within), span % Shape::kSpans);
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) {
      if (b >= place.blocks) continue;
      LATHE_UNROLL
      for (int e = 0; e < 2; ++e) {
        float w[4];
        float_word(codes, b, e, w);
        const float scale = scales.scale[Shape::kScaleColumns == 16 ? 2 * b + e : b];
        LATHE_UNROLL
        for (int i = 0; i < 4; ++i) {
          // Rounded twice, as the format is defined.
          const float value = sum_of(product_of(w[i], scale), scales.minimum[b]);
          const int column = span * kSpanColumns + b * kBlockColumns + 16 * e + int(lane()) % 4 * 2;
          call.y[int64_t(block_x()) * call.columns + column + i % 2 * 8 + i / 2] = value;
        }
      }
    }
  }
}

}  // namespace lathe::backend::cuda
