// Where the numbers lie in packed weights: shared by packing and by the kernels of all tiers.
//
// Plain layouts are as linear.h says. A block layout cuts the columns of a panel into chunks of 256 (the last
// one may be shorter, a multiple of 32) of `n` blocks of 32 columns. A chunk is three planes, then zeros up
// to a multiple of 64 bytes:
//   words   [w][16 rows] u32   each holds codes of four adjacent columns, one byte each, for one row
//   halves  [h][16 rows] u16   fp16 scales and minima
//   bytes   [b][16 rows] u8    sub-scales and minima
// so that the words of 16 rows are one 64-byte vector, the shape that vpdpbusd multiplies. Columns within
// block b:
//   4-bit   word 4b + j, j < 4: low nibbles are columns 4j..4j+3, high nibbles columns 16+4j..16+4j+3
//   5th bit word 4n + b: bit j of byte i is the bit of column 4j + i
//   6-bit   word 4n + 2b + h, h < 2: bits 2m, 2m+1 of byte i are the upper bits of column 16h + 4m + i
//   8-bit   word 8b + j, j < 8: columns 4j..4j+3
// halves: d of all blocks, then m of all blocks (q4_1, q5_1); d, dmin (q4_k, q5_k); d (q6_k).
// bytes: 6-bit scales and minima (q4_k, q5_k): plane b < 8 holds the low nibbles of scale b and, above it, of minimum
// b; bits 4 (b % 2) and on of plane 8 + b / 2 the upper two bits of scale b, then of minimum b. 16 signed scales of 16
// columns each (q6_k).
// Functions are static: a copy shared between tiers could hold instructions that the machine lacks.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/linear.h"

namespace lathe::backend::cpu {

constexpr int64_t kChunkColumns = 256;
constexpr int64_t kBlockColumns = 32;

struct BlockPlanes {
  int words;         // per block of 32 columns
  int halves;        // per block
  int chunk_halves;  // per chunk
  int chunk_bytes;   // per chunk
};

static constexpr bool is_block_layout(Layout layout) {
  return layout >= Layout::q4_0_panel;
}
// Formats with 256 columns in a block: their chunks are always full.
static constexpr bool is_super_block(Layout layout) {
  return layout == Layout::q4_k_panel || layout == Layout::q5_k_panel || layout == Layout::q6_k_panel;
}

static constexpr BlockPlanes block_planes(Layout layout) {
  switch (layout) {
    case Layout::q4_0_panel:
      return {4, 1, 0, 0};
    case Layout::q4_1_panel:
      return {4, 2, 0, 0};
    case Layout::q5_0_panel:
      return {5, 1, 0, 0};
    case Layout::q5_1_panel:
      return {5, 2, 0, 0};
    case Layout::q8_0_panel:
      return {8, 1, 0, 0};
    case Layout::q4_k_panel:
      return {4, 0, 2, 12};
    case Layout::q5_k_panel:
      return {5, 0, 2, 12};
    case Layout::q6_k_panel:
      return {6, 0, 1, 16};
    default:
      return {0, 0, 0, 0};
  }
}

// Columns that a row must be a multiple of.
static constexpr int64_t column_multiple(Layout layout) {
  if (is_super_block(layout)) return kChunkColumns;
  if (is_block_layout(layout)) return kBlockColumns;
  return layout == Layout::bf16_panel ? 2 : 1;
}

// Byte offsets of the planes of a chunk of `blocks` blocks, and its size.
struct ChunkOffsets {
  size_t halves, bytes, size;
};
static constexpr ChunkOffsets chunk_offsets(Layout layout, int64_t blocks) {
  const BlockPlanes planes = block_planes(layout);
  const size_t halves = size_t(planes.words * blocks * 64);
  const size_t bytes = halves + size_t((planes.halves * blocks + planes.chunk_halves) * 32);
  const size_t end = bytes + size_t(planes.chunk_bytes * 16);
  return {halves, bytes, (end + 63) / 64 * 64};
}

// Bytes of a panel; `columns` must be a multiple of column_multiple and small enough not to overflow.
static constexpr size_t panel_bytes(Layout layout, int64_t columns) {
  if (is_block_layout(layout)) {
    const int64_t rest = columns % kChunkColumns;
    return size_t(columns / kChunkColumns) * chunk_offsets(layout, kChunkColumns / kBlockColumns).size +
           (rest ? chunk_offsets(layout, rest / kBlockColumns).size : 0);
  }
  const size_t size = size_t(columns) * size_t(kPanelRows) * (layout == Layout::f32_panel ? 4 : 2);
  return (size + 63) / 64 * 64;
}

}  // namespace lathe::backend::cpu
