// y = x W' for many tokens by tensor cores: x and W in f16 or bf16, sums in f32. W streams through three stages of
// shared memory by asynchronous copies, so does x; tiles of 64 x 64 results, four warps of 32 x 32 each.
//
// Rows of a tile in shared memory are 32 numbers (64 bytes, four chunks of 16); chunk c of row r lies at c ^ (r / 2 %
// 4), so that the eight rows that ldmatrix reads at a time touch all banks.
#pragma once

#include "backend/cuda/kernels/formats.h"

namespace lathe::backend::cuda {

constexpr int kTile = 64;   // tokens and rows of weights of a block
constexpr int kDepth = 32;  // columns of a stage
constexpr int kStages = 3;
constexpr int kPrefillThreads = 128;
constexpr int kChunk = 8;                          // numbers of 16 bytes
constexpr int kStageNumbers = 2 * kTile * kDepth;  // x, then weights

struct LinearPrefill {
  Global<const uint16_t> x;        // [tokens][columns]
  Global<const uint16_t> weights;  // [rows][columns]
  int tokens;
  int rows;
  int columns;               // a multiple of kDepth
  Global<const float> bias;  // [rows] or null
  Function function;
  Global<const float> residual;  // [tokens][y_stride] or null
  Global<float> y;               // [tokens][y_stride], this part from y_first on
  int y_stride;
  int y_first;
};

LATHE_DEVICE int tile_place(int row, int chunk) {
  return row * kDepth + (chunk ^ (row / 2 % 4)) * kChunk;
}

// Begins to copy columns [first, first + kDepth) of both tiles; rows that are not there repeat the last one.
LATHE_DEVICE void fetch_stage(const LinearPrefill& call, const SharedView<uint16_t>& stage, int first) {
  constexpr int kChunks = kTile * kDepth / kChunk;
  for (int i = int(thread()); i < 2 * kChunks; i += kPrefillThreads) {
    const bool is_weight = i >= kChunks;
    const int row = i % kChunks / (kDepth / kChunk), chunk = i % (kDepth / kChunk);
    const int base = int(is_weight ? block_x() : block_y()) * kTile, last = (is_weight ? call.rows : call.tokens) - 1;
    const int from = base + row < last ? base + row : last;
    const Global<const uint16_t>& source = is_weight ? call.weights : call.x;
    copy_async(stage, (is_weight ? kTile * kDepth : 0) + tile_place(row, chunk), source,
               int64_t(from) * call.columns + first + chunk * kChunk, 16);
  }
}

// Adds the products of one stage to the warp's 32 x 32 results: sums[2][4][4], tiles of 16 tokens by 8 rows of weights.
template <bool kBf16>
LATHE_DEVICE void multiply_stage(const SharedView<uint16_t>& stage, int token, int row, float (*sums)[4][4]) {
  const SharedView<uint16_t> weights = stage + kTile * kDepth;
  LATHE_UNROLL
  for (int k = 0; k < kDepth / 16; ++k) {
    uint32_t a[2][4], b[2][4];
    LATHE_UNROLL
    for (int i = 0; i < 2; ++i) {
      // Matrices: tokens 0 to 7 and 8 to 15 of the first eight columns, then of the next eight.
      const int at = token + 16 * i + int(lane()) % 16;
      load_matrices<4>(stage, tile_place(at, 2 * k + int(lane()) / 16), a[i]);
    }
    LATHE_UNROLL
    for (int j = 0; j < 2; ++j) {
      // Rows 0 to 7 of weights in both halves of the columns, then rows 8 to 15.
      const int at = row + 16 * j + int(lane()) / 16 * 8 + int(lane()) % 8;
      load_matrices<4>(weights, tile_place(at, 2 * k + int(lane()) / 8 % 2), b[j]);
    }
    LATHE_UNROLL
    for (int i = 0; i < 2; ++i) {
      LATHE_UNROLL
      for (int j = 0; j < 4; ++j) multiply_tile<kBf16>(sums[i][j], a[i], b[j / 2] + 2 * (j % 2));
    }
  }
}

// What becomes of the sum of a token and a row, if there are such.
template <class Call>
LATHE_DEVICE void put_result(const Call& call, int token, int row, float value) {
  if (token >= call.tokens || row >= call.rows) return;
  if (call.bias) value += call.bias[row];
  value = apply(call.function, value);
  const int64_t place = int64_t(token) * call.y_stride + call.y_first + row;
  if (call.residual) value += call.residual[place];
  call.y[place] = value;
}

// Blocks: x of kTile rows of weights, y of kTile tokens. Dynamic shared memory: kStages * kStageNumbers numbers.
template <bool kBf16>
LATHE_KERNEL void linear_prefill(LinearPrefill call) {
  LATHE_DYNAMIC_SHARED(uint16_t, staged);
  const int steps = call.columns / kDepth;
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) fetch_stage(call, staged + s * kStageNumbers, s * kDepth);
    commit_copies();
  }
  const int token = int(warp()) / 2 * 32, row = int(warp()) % 2 * 32;  // of the tile
  float sums[2][4][4] = {};
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<kStages - 2>();
    sync_block();  // what all have waited for is there, and nobody reads the stage that is filled next
    const int next = step + kStages - 1;
    if (next < steps) fetch_stage(call, staged + next % kStages * kStageNumbers, next * kDepth);
    commit_copies();
    multiply_stage<kBf16>(staged + step % kStages * kStageNumbers, token, row, sums);
  }
  wait_for_copies<0>();
  LATHE_UNROLL
  for (int i = 0; i < 2; ++i) {
    LATHE_UNROLL
    for (int j = 0; j < 4; ++j) {
      LATHE_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int t = int(block_y()) * kTile + token + 16 * i + int(lane()) / 4 + e / 2 * 8;
        const int r = int(block_x()) * kTile + row + 8 * j + int(lane()) % 4 * 2 + e % 2;
        put_result(call, t, r, sums[i][j][e]);
      }
    }
  }
}

}  // namespace lathe::backend::cuda
