#include "backend/cpu/products.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace lathe::backend::cpu {

void pack_columns(const MatrixView& b, int64_t first, int64_t end, float* panels) noexcept {
  for (int64_t panel = first; panel < end; ++panel) {
    float* out = panels + panel * b.rows * 16;
    const int64_t column = panel * 16;
    const int64_t count = std::min<int64_t>(16, b.columns - column);
    if (b.column_stride == 1) {
      for (int64_t k = 0; k < b.rows; ++k) {
        std::memcpy(out + k * 16, b.data + k * b.row_stride + column, size_t(count) * sizeof(float));
        for (int64_t j = count; j < 16; ++j) out[k * 16 + j] = 0;
      }
      continue;
    }
    for (int64_t j = 0; j < 16; ++j) {
      const float* source = b.data + (column + j) * b.column_stride;
      for (int64_t k = 0; k < b.rows; ++k) out[k * 16 + j] = j < count ? source[k * b.row_stride] : 0;
    }
  }
}

void multiply_panels(const ConvTier& tier, const ProductsCall& call) noexcept {
  const int64_t panels = call.end - call.first;
  const int64_t runs = (panels + tier.max_panels - 1) / tier.max_panels;
  const float* rows[kMaxTileRows];
  for (int64_t run = 0; run < runs; ++run) {
    const int64_t first = call.first + panels * run / runs;
    const int64_t count = call.first + panels * (run + 1) / runs - first;
    const int64_t tile_rows = tier.tile_rows[count];
    for (int64_t row = 0; row < call.rows; row += tile_rows) {
      const int64_t row_count = std::min(tile_rows, call.rows - row);
      for (int64_t r = 0; r < row_count; ++r) rows[r] = call.a + (row + r) * call.a_stride;
      // Where all columns exist, the sums go where they belong.
      float* y = call.y + row * call.y_stride + first * 16;
      const bool whole = (first + count) * 16 <= call.n;
      tier.tile({.rows = rows,
                 .row_count = row_count,
                 .taps = 1,
                 .columns = call.k,
                 .panels = call.panels + first * call.k * 16,
                 .panel_stride = call.k * 16,
                 .panel_count = count,
                 .sums = whole ? y : call.sums,
                 .sum_stride = whole ? call.y_stride : count * 16});
      if (whole) continue;
      tier.finish({.sums = call.sums,
                   .row_count = row_count,
                   .sum_stride = count * 16,
                   .features = call.n - first * 16,
                   .bias = nullptr,
                   .residual = nullptr,
                   .y = y,
                   .stride = call.y_stride,
                   .low = -std::numeric_limits<float>::infinity(),
                   .high = std::numeric_limits<float>::infinity()});
    }
  }
}

}  // namespace lathe::backend::cpu
