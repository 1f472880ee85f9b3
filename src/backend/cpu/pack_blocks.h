// One row of a chunk between GGUF's blocks and the planes of linear_layout.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/linear.h"

namespace lathe::backend::cpu {

// What one row adds to the planes of a chunk, in plane order. Unused entries are left alone.
struct RowChunk {
  uint32_t words[64];
  uint16_t halves[16];
  uint8_t bytes[16];
};

// Bytes of `blocks` blocks of 32 columns of a row as GGUF stores them (k-quants: blocks == 8).
size_t stored_chunk_size(Layout layout, int blocks);
// `stored`: stored_chunk_size bytes, unaligned. A bijection; join is its inverse.
void split_row(Layout layout, const std::byte* stored, int blocks, RowChunk& out) noexcept;
void join_row(Layout layout, const RowChunk& row, int blocks, std::byte* stored) noexcept;

}  // namespace lathe::backend::cpu
