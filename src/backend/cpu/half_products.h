// Products of rows anywhere in memory with packed panels of 16-bit weights: bf16 in pairs of columns, or IEEE half.
#pragma once

#include <stdint.h>

#include "backend/cpu/conv.h"
#include "backend/cpu/tiles.h"

namespace lathe::backend::cpu {

// How a tile multiplies. The first two compute the same but for the order of sums: a product of two bf16 is exact.
enum class HalfForm : uint8_t {
  bf16_dot,   // rows of bf16 times bf16, two columns an instruction or more: AVX-512 BF16, AMX
  bf16_wide,  // rows of f32 times bf16, widened in registers
  f16,        // rows of f32 times half, widened in registers
};
constexpr int kHalfForms = 3;
constexpr int64_t kMaxHalfRows = 32;  // of any form

// A panel of 16 features is [taps][steps][16][2] bf16 or [taps][steps][16] half. Where the columns of a tap are odd the
// last pair is filled up with zero weights; rows then hold a zero behind their last column.
constexpr int64_t columns_of_step(HalfForm form) {
  return form == HalfForm::f16 ? 1 : 2;
}

// sums[r * sum_stride + p * 16 + j] = sum over taps t and columns of rows[t * row_count + r] with those of panel p.
struct HalfTileCall {
  const void* const* rows;
  int64_t row_count;  // at most the form's for so many panels
  int64_t taps;
  int64_t steps;  // of one tap: pairs of columns, or columns
  const uint16_t* panels;
  int64_t panel_stride;  // numbers from one panel to the next
  int64_t panel_count;   // at most the form's
  float* sums;
  int64_t sum_stride;  // at least panel_count * 16
  TileShape* tiles = nullptr;  // of the thread, for forms with a `release`
};

struct HalfTileForm {
  int tile_rows[kMaxTilePanels + 1];  // best number of rows for so many panels
  int max_panels;                     // 0: the tier has not got it
  void (*tile)(const HalfTileCall&);
  int grain = 24;                         // rows: whole tiles of any number of panels
  int64_t block_bytes = int64_t{256} << 10;  // of rows that stay in the second cache while all panels pass
  int64_t run_bytes = 0;  // of the panels of a tile, beyond which two at a time are better; 0: any number
  void (*release)(TileShape&) = nullptr;  // when a thread's part of a kernel ends
};

struct HalfTier {
  HalfTileForm forms[kHalfForms];
  // To nearest even, NaN stays NaN; round_bf16 gives the same numbers as f32.
  void (*to_bf16)(const float* x, int64_t count, uint16_t* out);
  void (*round_bf16)(const float* x, int64_t count, float* out);
  void (*to_f16)(const float* x, int64_t count, uint16_t* out);
  // A tap of a panel as f32: out[c * 16 + j], c < columns.
  void (*widen_bf16)(const uint16_t* pairs, int64_t columns, float* out);
  void (*widen_f16)(const uint16_t* panel, int64_t columns, float* out);
};

namespace avx2 {
extern const HalfTier kHalfTier;
}
namespace avx512 {
extern const HalfTier kHalfTier;  // bf16_dot runs only where has_avx512_bf16()
}
// bf16_dot on tiles; all else is avx512's.
namespace amx {
extern const HalfTileForm kBf16Tiles;
}
namespace amx_emulated {
extern const HalfTileForm kBf16Tiles;
}

}  // namespace lathe::backend::cpu
