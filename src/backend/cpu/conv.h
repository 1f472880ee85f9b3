// Products of rows anywhere in memory with packed panels: what convolutions and products of two results are made of.
//
// The algorithm is the indirect convolution of Dukhan (2019, arXiv:1907.02129) without its table: for each tap of the
// kernel the tile's rows are found by arithmetic, and rows in the padding are rows of zeros.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

constexpr int64_t kMaxTileRows = 12;
constexpr int64_t kMaxTilePanels = 4;

// sums[r * sum_stride + p * 16 + j] = sum over taps t, columns c: rows[t * row_count + r][c] * panels[p][(t * columns +
// c) * 16 + j]
struct TileCall {
  const float* const* rows;
  int64_t row_count;  // at most the tier's for so many panels
  int64_t taps;
  int64_t columns;  // of one tap
  const float* panels;
  int64_t panel_stride;  // floats from one panel to the next
  int64_t panel_count;   // at most kMaxTilePanels
  float* sums;
  int64_t sum_stride;  // at least panel_count * 16
};

// y[r][j] = clamp(sums[r][j] + bias[j] + residual[r][j], low, high)
struct FinishTileCall {
  float* sums;
  int64_t row_count;
  int64_t sum_stride;
  int64_t features;   // that exist, at most panel_count * 16
  const float* bias;  // [features] or null
  const float* residual;
  float* y;
  int64_t stride;  // of residual and y, in floats
  float low, high;
};

// One output position of a depthwise convolution for channels [0, count): y = clamp(sum over t rows[t] * w[t] + bias +
// residual).
struct DepthwiseCall {
  const float* const* rows;  // [taps], of the first channel
  const float* weights;      // of the first channel
  int64_t weight_stride;     // floats from one tap to the next
  int64_t taps;
  int64_t count;
  const float* bias;      // or null
  const float* residual;  // or null
  float* y;
  float low, high;
};

struct ConvTier {
  int tile_rows[kMaxTilePanels + 1];  // best number of rows for so many panels
  int max_panels;
  void (*tile)(const TileCall&);
  void (*finish)(const FinishTileCall&);
  void (*depthwise)(const DepthwiseCall&);
};

namespace avx2 {
extern const ConvTier kConvTier;
}
namespace avx512 {
extern const ConvTier kConvTier;
}

}  // namespace lathe::backend::cpu
