// Exact sums of products of bytes, rows anywhere in memory with packed panels, and what is made of the sums: the
// integer side of conv.h.
//
// Panels hold signed bytes, rows unsigned ones. Weights of u8 are packed less 128, x of i8 is read plus 128 (`flip`),
// and zero points are moved likewise: the products are the same.
#pragma once

#include <stdint.h>

#include "backend/cpu/tiles.h"

namespace lathe::backend::cpu {

constexpr int64_t kMaxByteRows = 32;  // of any tier
constexpr int64_t kMaxBytePanels = 4;

// sums[r * sum_stride + p * 16 + j] = sum over taps t, columns c: rows[t * row_count + r][c] * panel p [t * columns +
// c][j]
struct ByteTileCall {
  const uint8_t* const* rows;
  int64_t row_count;  // at most the tier's for so many panels
  int64_t taps;
  int64_t columns;       // of one tap, a multiple of 4
  bool flip;             // rows hold signed bytes
  const int8_t* panels;  // [columns of all taps / 4][16][4]
  int64_t panel_stride;  // bytes from one panel to the next
  int64_t panel_count;   // at most kMaxBytePanels
  int32_t* sums;
  int64_t sum_stride;  // at least panel_count * 16
  // For tiers with a `release`: the sums of each feature's weights as they are packed, 16 for each panel, and the
  // thread's tiles.
  const int32_t* weight_sums = nullptr;
  TileShape* tiles = nullptr;
};

// v = float(sums[r][j] + offsets[j] - weight_zeros[j] * row_sums[r]) * scales[j] + bias[j], then a clamp, and for bytes
// rounding to nearest even + zero. offsets, weight_zeros, scales and bias can be read up to a multiple of 16 features.
struct FinishBytesCall {
  const int32_t* sums;
  int64_t row_count;
  int64_t sum_stride;
  int64_t features;
  const int32_t* offsets;
  const int32_t* weight_zeros;  // or null
  const int32_t* row_sums;      // with weight_zeros
  const float* scales;          // not for sums alone
  const float* bias;            // or null
  float low, high;              // bytes: within what the type holds less zero
  int32_t zero;
  void* y;         // uint8_t, float or int32_t
  int64_t stride;  // elements from one row of y to the next
};

// v, clamped and rounded to whole numbers, * middle_scale + (residual[j] - residual_zero) * residual_scale, then a
// clamp, rounding and + zero.
struct SumBytesCall {
  FinishBytesCall product;  // with the clamp of v
  const uint8_t* residual;  // stride as y
  bool residual_signed;
  float residual_zero, residual_scale, middle_scale;
  float low, high;
};

// One output position of a depthwise convolution, for channels [0, count): sums[c] = sum over taps of
// x[c] * (weight[c] - weight_zero[c]), with x as it is, signed or not.
struct ByteDepthwiseCall {
  const uint8_t* const* rows;  // [2 * pairs], of the first channel; behind the last tap any row
  bool is_signed;
  const int16_t* weights;       // [pairs][weight_stride][2], 0 behind the last tap
  int64_t weight_stride;        // channels, a multiple of 16
  const int16_t* weight_zeros;  // [pairs][weight_stride][2] alike, or null
  int64_t pairs;
  int64_t count;
  int32_t* sums;  // can be written up to a multiple of 16
};

struct ByteTier {
  int tile_rows[kMaxBytePanels + 1];  // best number of rows for so many panels
  int max_panels;
  void (*tile)(const ByteTileCall&);
  // The same of a tile of max_panels and its best number of rows, all features there, no weight zeros: to bytes at
  // once. Sums of the first call may be overwritten.
  void (*tile_to_bytes)(const ByteTileCall&, const FinishBytesCall&);
  void (*tile_to_byte_sums)(const ByteTileCall&, const SumBytesCall&);
  // row_sums[r] = sum over taps and columns of the row's bytes, read as the tile reads them.
  void (*row_sums)(const ByteTileCall&, int32_t* row_sums);
  void (*to_bytes)(const FinishBytesCall&);
  void (*to_byte_sums)(const SumBytesCall&);
  void (*to_floats)(const FinishBytesCall&);
  void (*to_sums)(const FinishBytesCall&);
  void (*depthwise)(const ByteDepthwiseCall&);
  int grain = 24;                         // rows: whole tiles of any number of panels
  int64_t block_bytes = int64_t{256} << 10;  // of rows that stay in the second cache while all panels pass
  int64_t run_bytes = 0;  // of the panels of a tile, beyond which two at a time are better; 0: any number
  void (*release)(TileShape&) = nullptr;  // when a thread's part of a kernel ends
};

namespace avx2 {
extern const ByteTier kByteTier;
}
namespace avx512 {
extern const ByteTier kByteTier;
}
namespace amx {
extern const ByteTier kByteTier;
}
namespace amx_emulated {
extern const ByteTier kByteTier;
}

}  // namespace lathe::backend::cpu
