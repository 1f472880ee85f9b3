// What linear.cpp asks of each tier: four steps on raw pointers. linear.cpp shares out the work; these
// compute.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "backend/cpu/linear.h"
#include "backend/cpu/tiles.h"

namespace lathe::backend::cpu {

// How activations are handed to the products.
enum class Form : uint8_t {
  f32,            // as they are
  f32_from_f16,   // rounded to fp16, kept as floats
  f32_from_bf16,  // rounded to bf16, kept as floats
  bf16,           // rounded to bf16, for the bf16 dot instruction
  i8,             // 8-bit codes, one scale for 32 columns
  i16,            // 16-bit codes, one scale for 32 columns
};

// Activations after norm and rounding. Rows: `values` is [token][column]. Tiles of N tokens:
// f32 [tile][column][N], bf16 [tile][column / 2][N][2], i8 [tile][column / 4][N][4], i16 [tile][column / 4][2][N][2];
// absent tokens are zero. Each four columns c of i16 are in the order c, c + 2, c + 1, c + 3, in rows too: the
// bytes of a word of weight codes become pairs of 16 bits in that order without shuffles.
// The others exist for i8 and i16 only, with g the 32-column group: rows [token][g], tiles [tile][g][N].
struct Activations {
  void* values = nullptr;
  float* scales = nullptr;
  float* scaled_sums = nullptr;  // scale * sum of the codes
  // Minus the sums of the codes. Rows: [token][g][2], one for each 16 columns. Tiles (i8): [tile][g][2][N], two
  // 16-bit sums in one word, of the columns that the lower and the upper half of a word of codes multiply.
  int32_t* sums = nullptr;
};

struct PrepareCall {
  const float* x;  // [tokens, columns]
  int64_t tokens;
  int64_t columns;
  Norm norm;
  const float* norm_scale;
  const float* norm_bias;
  float epsilon;
  Form form;
  Activations out;
  float* rows;  // private: [tile of the form, or 1][columns]
};

// Sums of products of some panels. `sums` are [panel][token][16] (gemv) or [token][32] (gemm),
// the first 16 of a token being panels[0]'s, the others panels[1]'s or left alone.
struct ProductCall {
  const std::byte* panels[2];  // gemm: one or two panels, any places; gemv: panels[0], `count` in a row
  Layout layout;
  int64_t count;
  int64_t columns;
  int64_t tokens;  // gemv: at most gemv_tokens; gemm: a multiple of the tile
  Form form;
  Activations activations;  // gemm: from the first tile on
  float* sums;
  std::byte* work;  // private, kWorkSize bytes
  TileShape* tiles;  // of the thread, for tiers with a `release`
};
constexpr int64_t kGemvPanels = 4;
// Two panels of 256 columns as floats, or as codes with scales, minima and sums.
constexpr size_t kWorkSize = 2 * 16 * size_t(256) * 4 + 1024;

// activation(sums + bias) + residual, for one panel.
struct FinishCall {
  const float* sums;       // [tokens][sum_stride]
  const float* gate_sums;  // the second part's, for gates
  int64_t sum_stride;
  int64_t tokens;
  int rows;  // 1..16 of the panel exist
  const float* bias;
  const float* gate_bias;
  Activation activation;
  const float* residual;  // [tokens][output_stride] or null
  float* y;               // [tokens][output_stride]
  int64_t output_stride;
};

struct LinearTier {
  int gemv_tokens;  // up to so many tokens are multiplied straight from packed weights
  int tile_f32, tile_bf16, tile_i8, tile_i16;
  void (*prepare_rows)(const PrepareCall&);
  void (*prepare_tiles)(const PrepareCall&, int64_t first, int64_t end);  // tiles [first, end)
  void (*gemv)(const ProductCall&);
  void (*gemm)(const ProductCall&);
  void (*finish)(const FinishCall&);
  bool has_bf16_dot = false;  // whatever the processor has beside the tier
  // Where a tile of activations is one token: tokens that are best multiplied together, and bytes of activations of 16
  // bits that should meet a panel before the next one does.
  int64_t token_grain = 1, block_bytes = 0;
  void (*release)(TileShape&) = nullptr;  // when a thread's part of a kernel ends
};

namespace avx2 {
extern const LinearTier kLinearTier;
}
namespace avx512 {
extern const LinearTier kLinearTier;
}
// Products of bf16, and those of codes by many tokens, in tiles; all else is avx512's.
namespace amx {
extern const LinearTier kLinearTier;
}
namespace amx_emulated {
extern const LinearTier kLinearTier;
}

}  // namespace lathe::backend::cpu
