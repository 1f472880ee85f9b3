// y = function(x W' + bias) + residual for many tokens by tensor cores on block-quantised weights (block_shape.h).
//
// Codes themselves are multiplied, as f16, bf16 or signed bytes, all of which hold them exactly, and the sum of a block
// of 32 columns is scaled in f32: weights lose nothing. Minima are multiplied with the sums of x over the block. Tiles
// of 64 tokens by 128 rows; each of four warps has all the tokens and 32 rows, so that a code is unpacked once. Spans
// of 128 columns stream through two or three stages of shared memory; a lane reads its codes from there as it would in
// decoding, and has the fragment of mma in its registers.
#pragma once

#include "backend/cuda/kernels/linear_prefill.h"
#include "backend/cuda/kernels/prefill_numbers.h"

namespace lathe::backend::cuda {

constexpr int kTileRows = 128;
constexpr int kTileGroups = kTileRows / kGroupRows;
constexpr int kWarpGroups = kTileGroups / 4;  // of a warp
constexpr int kResultRow = 33;                // floats: 32 results, and one that keeps banks apart
constexpr int kMostStaged = 99 << 10;         // bytes that every GPU from sm_80 on has for a block

struct LinearPrefillBlocks {
  Global<const uint8_t> x;       // as round_activations.h writes it
  Global<const float> x_blocks;  // [tokens][columns / 32][2], of integers
  Global<const uint8_t> weights;
  int tokens;
  int rows;
  int columns;
  Global<const float> bias;  // [rows] or null
  Function function;
  Global<const float> residual;  // [tokens][y_stride] or null
  Global<float> y;               // [tokens][y_stride], this part from y_first on
  int y_stride;
  int y_first;
};

// Where things lie in shared memory: of a stage x, then {scale, sum} of integers' blocks, then codes and scales of each
// group; behind the stages the scales and minima of the span at hand as floats, [number][32 rows] of each warp.
template <class Shape, class Numbers>
struct Staged {
  static constexpr int kX = kTileTokens * kSpanColumns * Numbers::kBytes;
  static constexpr int kXBlocks = Numbers::kIsInteger ? kTileTokens * kSpanBlocks * 8 : 0;
  static constexpr int kGroup = Shape::kSpanBytes + Shape::kHeaderBytes;
  static constexpr int kStage = kX + kXBlocks + kTileGroups * kGroup;
  static constexpr int kScales = RowScales<Shape>::kCount;
  static constexpr int kNumbers = kScales + (Shape::kHasMinima ? kSpanBlocks : 0);
  static constexpr int kTable = kNumbers * 32 * 4;  // of a warp
  static constexpr int kStages = 3 * kStage + 4 * kTable <= kMostStaged ? 3 : 2;
  static constexpr int kBytes = kStages * kStage + 4 * kTable;
  static_assert(kStages * kStage >= 4 * kTileTokens * kResultRow * 4, "results take the place of stages");
};

// Begins to copy a span of both tiles; tokens and groups that are not there repeat the last one.
template <class Shape, class Numbers>
LATHE_DEVICE void fetch_span(const LinearPrefillBlocks& call, const SharedView<uint8_t>& stage, int span) {
  using In = Staged<Shape, Numbers>;
  const SpanPlace place = span_place<Shape>(call.columns, span);
  constexpr int kChunks = Numbers::kRow / 16;
  const int chunks = kChunks / kSpanBlocks * place.blocks;
  for (int i = int(thread()); i < Numbers::kPlanes * kTileTokens * kChunks; i += kPrefillThreads) {
    const int plane = i / (kTileTokens * kChunks), row = i / kChunks % kTileTokens, chunk = i % kChunks;
    if (chunk >= chunks) continue;
    const int token = int(block_y()) * kTileTokens + row, from = token < call.tokens ? token : call.tokens - 1;
    const int64_t first = (int64_t(plane) * call.tokens + from) * call.columns + span * kSpanColumns;
    copy_async(stage, plane * kTileTokens * Numbers::kRow + x_place(row, chunk, Numbers::kRow), call.x,
               first * (Numbers::kRow / kSpanColumns) + chunk * 16, 16);
  }
  if constexpr (Numbers::kIsInteger) {
    for (int i = int(thread()); i < kTileTokens * kSpanBlocks; i += kPrefillThreads) {
      if (i % kSpanBlocks >= place.blocks) continue;
      const int token = int(block_y()) * kTileTokens + i / kSpanBlocks,
                from = token < call.tokens ? token : call.tokens - 1;
      const int64_t block = int64_t(from) * (call.columns / kBlockColumns) + span * kSpanBlocks + i % kSpanBlocks;
      copy_async(stage, In::kX + i * 8, call.x_blocks, block * 2, 8);
    }
  }
  const int codes = place.blocks * (Shape::kCodeBytes + Shape::kHighBytes) / 16;
  const int all =
      codes + (place.blocks < kSpanBlocks ? place.blocks * kGroupRows * Shape::kScaleBytes : Shape::kHeaderBytes) / 16;
  const int last = (call.rows - 1) / kGroupRows;
  const int64_t bytes = group_bytes<Shape>(call.columns);
  for (int i = int(thread()); i < kTileGroups * all; i += kPrefillThreads) {
    const int group = int(block_x()) * kTileGroups + i / all, chunk = i % all;
    const bool is_code = chunk < codes;
    const int64_t from = is_code ? place.codes + chunk * 16 : place.scales + (chunk - codes) * 16;
    const int to =
        In::kX + In::kXBlocks + i / all * In::kGroup + (is_code ? chunk : Shape::kSpanBytes / 16 + chunk - codes) * 16;
    copy_async(stage, to, call.weights, (group < last ? group : last) * bytes + from, 16);
  }
}

// The scales of the warp's 32 rows as floats: each lane a row.
template <class Shape, class Numbers>
LATHE_DEVICE void spread_scales(const SharedView<uint8_t>& stage, const SharedView<float>& table, int blocks,
                                int half) {
  using In = Staged<Shape, Numbers>;
  const int group = int(warp()) * kWarpGroups + int(lane()) / kGroupRows;
  const int at = In::kX + In::kXBlocks + group * In::kGroup;
  const RowScales<Shape> row =
      scales_of(read_scales<Shape>(stage, {at, at + Shape::kSpanBytes, blocks}, int(lane()) % kGroupRows), half);
  LATHE_UNROLL
  for (int i = 0; i < In::kScales; ++i) table[i * 32 + int(lane())] = row.scale[i];
  if constexpr (Shape::kHasMinima) {
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) table[(In::kScales + b) * 32 + int(lane())] = row.minimum[b];
  }
  sync_warp();
}

// sums[16 tokens][8 rows] += scales x the block's products + minima x the tokens' sums.
template <class Shape, class Numbers>
LATHE_DEVICE void add_block(const typename Numbers::Tokens& x, const typename Numbers::Fragments& w,
                            const SharedView<float>& table, int group, int b, float* sums) {
  constexpr bool kBoth = Shape::kScaleColumns == kBlockColumns;
  const int row = group * kGroupRows + int(lane()) % 4 * 2;
  LATHE_UNROLL
  for (int e = 0; e < (kBoth ? 1 : 2); ++e) {
    const WordPair scale = load<WordPair>(table, (kBoth ? b : 2 * b + e) * 32 + row);
    float products[4];
    Numbers::template multiply<kBoth>(x, w, e, products);
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) {
      float by = float_of_bits(scale.words[i % 2]);
      if (Numbers::kIsInteger) by *= x.scales[i / 2];
      sums[i] = fma_of(products[i], by, sums[i]);
    }
  }
  if constexpr (Shape::kHasMinima) {
    const WordPair minimum = load<WordPair>(table, (Staged<Shape, Numbers>::kScales + b) * 32 + row);
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) sums[i] = fma_of(float_of_bits(minimum.words[i % 2]), x.sums[i / 2], sums[i]);
  }
}

// Adds the products of one span to the warp's 64 x 32 results: sums[4][4][4], tiles of 16 tokens by 8 rows.
template <class Shape, class Numbers>
LATHE_DEVICE void multiply_span(const SharedView<uint8_t>& stage, const SharedView<uint16_t>& stage16,
                                const SharedView<float>& table, int blocks, int half, float (*sums)[kWarpGroups][4]) {
  using In = Staged<Shape, Numbers>;
  spread_scales<Shape, Numbers>(stage, table, blocks, half);
  LaneCodes<Shape> codes[kWarpGroups];
  LATHE_UNROLL
  for (int n = 0; n < kWarpGroups; ++n) {
    const int at = In::kX + In::kXBlocks + (int(warp()) * kWarpGroups + n) * In::kGroup;
    codes[n] = read_span<Shape>(stage, {at, at + Shape::kSpanBytes, blocks});
  }
  LATHE_LOOP
  for (int b = 0; b < blocks; ++b) {
    typename Numbers::Fragments w[kWarpGroups];
    LATHE_UNROLL
    for (int n = 0; n < kWarpGroups; ++n) {
      w[n] = Numbers::template fragments<Shape>(codes[n]);
      next_block(codes[n]);
    }
    LATHE_UNROLL
    for (int m = 0; m < kTileTokens / 16; ++m) {
      const typename Numbers::Tokens x = Numbers::template tokens<Shape>(stage, stage16, 16 * m, b);
      LATHE_UNROLL
      for (int n = 0; n < kWarpGroups; ++n) add_block<Shape, Numbers>(x, w[n], table, n, b, sums[m][n]);
    }
  }
}

// A warp's results in shared memory, so that lanes have rows that lie together, and a result is finished in one place.
LATHE_DEVICE void keep_results(const float (*sums)[kWarpGroups][4], const SharedView<float>& results) {
  LATHE_UNROLL
  for (int m = 0; m < kTileTokens / 16; ++m) {
    LATHE_UNROLL
    for (int n = 0; n < kWarpGroups; ++n) {
      LATHE_UNROLL
      for (int i = 0; i < 4; ++i) {
        const int token = 16 * m + int(lane()) / 4 + i / 2 * 8;
        results[token * kResultRow + n * kGroupRows + int(lane()) % 4 * 2 + i % 2] = sums[m][n][i];
      }
    }
  }
  sync_warp();
}

// Blocks: x of kTileRows rows, y of kTileTokens tokens, of kPrefillThreads. Dynamic shared memory: Staged::kBytes.
template <class Shape, class Numbers>
LATHE_KERNEL void linear_prefill_blocks(LinearPrefillBlocks call) {
  using In = Staged<Shape, Numbers>;
  LATHE_DYNAMIC_SHARED(uint8_t, staged);
  LATHE_DYNAMIC_SHARED(uint16_t, staged16);
  LATHE_DYNAMIC_SHARED(float, staged32);
  const SharedView<float> table = staged32 + (In::kStages * In::kStage + int(warp()) * In::kTable) / 4;
  const int spans = (call.columns + kSpanColumns - 1) / kSpanColumns;
  for (int s = 0; s < In::kStages - 1; ++s) {
    if (s < spans) fetch_span<Shape, Numbers>(call, staged + s * In::kStage, s);
    commit_copies();
  }
  float sums[kTileTokens / 16][kWarpGroups][4] = {};
  for (int span = 0; span < spans; ++span) {
    wait_for_copies<In::kStages - 2>();
    sync_block();  // what all have waited for is there, and nobody reads the stage that is filled next
    const int next = span + In::kStages - 1;
    if (next < spans) fetch_span<Shape, Numbers>(call, staged + next % In::kStages * In::kStage, next);
    commit_copies();
    const int at = span % In::kStages * In::kStage;
    multiply_span<Shape, Numbers>(staged + at, staged16 + at / 2, table, span_place<Shape>(call.columns, span).blocks,
                                  span % Shape::kSpans, sums);
  }
  wait_for_copies<0>();
  sync_block();  // stages are read: they become results
  const SharedView<float> results = staged32 + int(warp()) * kTileTokens * kResultRow;
  keep_results(sums, results);
  LATHE_LOOP
  for (int t = 0; t < kTileTokens; ++t) {
    const int row = int(block_x()) * kTileRows + int(warp()) * 32 + int(lane());
    put_result(call, int(block_y()) * kTileTokens + t, row, results[t * kResultRow + int(lane())]);
  }
}

}  // namespace lathe::backend::cuda
