// Blocks of up to 32 rows anywhere in memory by one or two panels, in tiles: 2 x 2 accumulators. For x_amx.cpp only.
#pragma once

#include <cstddef>

#include "backend/cpu/tile_instructions.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

constexpr int64_t kBlockRows = 2 * kTileRows;
constexpr int64_t kBlockPanels = 2;
constexpr int64_t kMostPanels = 4;  // of a call: finding the rows of a convolution's window costs as much as two panels
// Of rows that stay in the second cache, of 2 MB where there is AMX: tiles use up weights faster than memory gives
// them, so that a panel should meet as many rows as it can; and of panels beside them.
constexpr int64_t kBlockBytes = int64_t{1} << 20, kRunBytes = int64_t{3} << 18;

// sums[r * sum_stride + p * panel_sums + 4 * j] = initial[p * 16 + j] + sum over taps t and steps (words of a row) of
// rows[t * row_count + r] with panel p's, all 32-bit words. Strides are in bytes.
struct TileBlock {
  const void* const* rows;
  int64_t row_count;
  int64_t taps, steps;
  const std::byte* panels[2];  // [taps][steps][16] words
  int64_t panel_count;
  const int32_t* initial;  // or null: zeros
  std::byte* sums;
  int64_t sum_stride, panel_sums;
};

// How the steps of a tap are cut: into chunks of one depth, because another depth means another configuration, which
// clears the accumulators. The last chunk may be short; it is then filled up with zeros.
struct Chunks {
  int64_t depth, count, last;
};
inline Chunks chunks_of(int64_t steps) {
  const int64_t count = (steps + kTileSteps - 1) / kTileSteps;
  const int64_t depth = (steps + count - 1) / count;
  return {depth, count, steps - (count - 1) * depth};
}

struct alignas(64) TileCopy {
  std::byte bytes[1024];
};

inline void copy_row(const std::byte* from, int64_t words, std::byte* to) {
  const __mmask16 mask = __mmask16((1u << words) - 1);
  _mm512_storeu_si512(to, _mm512_maskz_loadu_epi32(mask, from));
}

// Up to 16 rows of a tap: a first one and a distance, where one tells all of them (rows of a matrix, neighbouring
// positions of a convolution inside of a line), else one by one, to be copied.
struct RowTile {
  const void* const* rows;
  int64_t count;
  const std::byte* first;
  int64_t stride;
  bool regular;

  RowTile(const void* const* rows_, int64_t count_) : rows(rows_), count(count_) {
    first = static_cast<const std::byte*>(rows[0]);
    stride = count > 1 ? static_cast<const std::byte*>(rows[1]) - first : 0;
    int64_t difference = 0;
    for (int64_t r = 2; r < count; ++r) {
      difference |= (static_cast<const std::byte*>(rows[r]) - first) ^ (r * stride);
    }
    regular = difference == 0;
  }
  // Words [step, step + words) of each row, zeros behind them.
  void copy(int64_t step, int64_t words, TileCopy& to) const {
    for (int64_t r = 0; r < count; ++r) {
      copy_row(static_cast<const std::byte*>(rows[r]) + step * 4, words, to.bytes + r * 64);
    }
  }
};

template <int T>
inline void load_rows(const RowTile& tile, int64_t step, int64_t words, bool whole, TileCopy& copy) {
  if (tile.regular && whole) return Tiles::load<T>(tile.first + step * 4, tile.stride);
  tile.copy(step, words, copy);
  Tiles::load<T>(copy.bytes, 64);
}

template <int T>
inline void load_panel(const std::byte* panel, int64_t words, int64_t depth, TileCopy& copy) {
  if (words == depth) return Tiles::load<T>(panel, 64);
  for (int64_t k = 0; k < depth; ++k) copy_row(panel + k * 64, k < words ? 16 : 0, copy.bytes + k * 64);
  Tiles::load<T>(copy.bytes, 64);
}

template <int C>
inline void begin_sums(const int32_t* initial) {
  if (!initial) return Tiles::zero<C>();
  Tiles::load<C>(initial, 0);  // each row is the same
}

// R tiles of rows by P panels.
template <TileProduct kProduct, int R, int P>
void multiply_block(const TileBlock& block, TileShape& shape) {
  const Chunks chunks = chunks_of(block.steps);
  const int64_t upper = R == 2 ? kTileRows : block.row_count, lower = block.row_count - upper;
  set_shape(shape, {upper, lower, chunks.depth});
  const int32_t* second = block.initial ? block.initial + 16 : nullptr;
  begin_sums<0>(block.initial);
  if constexpr (P == 2) begin_sums<1>(second);
  if constexpr (R == 2) begin_sums<2>(block.initial);
  if constexpr (R == 2 && P == 2) begin_sums<3>(second);
  TileCopy copies[4];
  const std::byte *panel = block.panels[0], *next_panel = block.panels[1];
  for (int64_t t = 0; t < block.taps; ++t) {
    const void* const* rows = block.rows + t * block.row_count;
    const RowTile first(rows, upper), rest(R == 2 ? rows + kTileRows : rows, R == 2 ? lower : upper);
    for (int64_t c = 0; c < chunks.count; ++c) {
      const int64_t step = c * chunks.depth;
      const int64_t words = c + 1 < chunks.count ? chunks.depth : chunks.last;
      const bool whole = words == chunks.depth;
      load_rows<4>(first, step, words, whole, copies[0]);
      load_panel<6>(panel, words, chunks.depth, copies[2]);
      Tiles::multiply<kProduct, 0, 4, 6>();
      if constexpr (P == 2) {
        load_panel<7>(next_panel, words, chunks.depth, copies[3]);
        Tiles::multiply<kProduct, 1, 4, 7>();
      }
      if constexpr (R == 2) {
        load_rows<5>(rest, step, words, whole, copies[1]);
        Tiles::multiply<kProduct, 2, 5, 6>();
        if constexpr (P == 2) Tiles::multiply<kProduct, 3, 5, 7>();
      }
      panel += words * 64;
      if constexpr (P == 2) next_panel += words * 64;
    }
  }
  Tiles::store<0>(block.sums, block.sum_stride);
  if constexpr (P == 2) Tiles::store<1>(block.sums + block.panel_sums, block.sum_stride);
  std::byte* below = block.sums + kTileRows * block.sum_stride;
  if constexpr (R == 2) Tiles::store<2>(below, block.sum_stride);
  if constexpr (R == 2 && P == 2) Tiles::store<3>(below + block.panel_sums, block.sum_stride);
}

template <TileProduct kProduct>
void multiply_block(const TileBlock& block, TileShape& shape) {
  const int64_t panels = block.panel_count;
  if (block.taps * block.steps == 0) {  // a tile is at least one word deep
    for (int64_t r = 0; r < block.row_count; ++r) {
      for (int64_t p = 0; p < panels; ++p) {
        const I32 sums = block.initial ? load_i32(block.initial + p * 16) : splat_i32(0);
        store_i32(block.sums + r * block.sum_stride + p * block.panel_sums, sums);
      }
    }
    return;
  }
  const bool two = block.row_count > kTileRows;
  if (panels == 1) {
    return two ? multiply_block<kProduct, 2, 1>(block, shape) : multiply_block<kProduct, 1, 1>(block, shape);
  }
  two ? multiply_block<kProduct, 2, 2>(block, shape) : multiply_block<kProduct, 1, 2>(block, shape);
}

// The same for up to kMostPanels panels, `panel_stride` bytes from one to the next; panels[0] is the first.
template <TileProduct kProduct>
void multiply_panels(TileBlock block, int64_t panel_stride, TileShape& shape) {
  const int64_t count = block.panel_count;
  const std::byte* panel = block.panels[0];
  const int32_t* initial = block.initial;
  std::byte* sums = block.sums;
  for (int64_t p = 0; p < count; p += kBlockPanels) {
    block.panels[0] = panel + p * panel_stride;
    block.panels[1] = block.panels[0] + panel_stride;
    block.panel_count = p + 1 < count ? 2 : 1;
    block.initial = initial ? initial + p * 16 : nullptr;
    block.sums = sums + p * block.panel_sums;
    multiply_block<kProduct>(block, shape);
  }
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER
