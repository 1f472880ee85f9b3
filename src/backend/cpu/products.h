// Products of two matrices that are both results, by packing one of them into panels.
#pragma once

#include <stdint.h>

#include "backend/cpu/conv.h"

namespace lathe::backend::cpu {

// A matrix in memory: element (i, j) at data[i * row_stride + j * column_stride].
struct MatrixView {
  const float* data;
  int64_t rows, columns;
  int64_t row_stride, column_stride;
};

// Floats that `b` [K, N] takes in panels [N / 16 rounded up][K][16].
inline int64_t packed_floats(int64_t k, int64_t n) {
  return (n + 15) / 16 * 16 * k;
}
// Packs panels [first, end) of b; columns that do not exist are zero. noexcept, no allocation.
void pack_columns(const MatrixView& b, int64_t first, int64_t end, float* panels) noexcept;

// y[r][j] = scale * sum over k of a[r][k] panels[j][k], for rows [0, rows) of a (row-major, any stride) and panels
// [first, end) of b. y: [rows][y_stride], columns up to n only. `sums`: kTileFloats of scratch.
constexpr int64_t kTileFloats = kMaxTileRows * kMaxTilePanels * 16;
struct ProductsCall {
  const float* a;
  int64_t a_stride;
  int64_t rows, k, n;
  const float* panels;
  int64_t first, end;
  float* y;
  int64_t y_stride;
  float* sums;
};
void multiply_panels(const ConvTier& tier, const ProductsCall& call) noexcept;

}  // namespace lathe::backend::cpu
