// Products with weights of 4- or 8-bit codes in panels of 16 rows: decoded to panels of f32 for many rows of x, read as
// they are for few.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

constexpr int64_t kMaxBlockRows = 4;

// A panel: codes as unsigned numbers, [column][16] of bytes, or [column / 2][16] with the even column in the low half;
// scales and zeros [block][16].
struct BlockPanel {
  const uint8_t* codes;
  bool halves;  // 4 bits
  const float* scales;
  const float* zeros;  // or null: none
  float shift;         // what signed codes were moved by
  int64_t columns;     // even with halves
  int64_t block;       // columns of a block, even with halves
};

// sums[r * 16 + j] = sum over columns: x[r][column] * weight[column][j], for row_count <= kMaxBlockRows
struct BlockRowsCall {
  BlockPanel panel;
  const float* x;
  int64_t x_stride;
  int64_t row_count;
  float* sums;
};

struct BlockTier {
  // out[column * 16 + j] = (code - shift - zero) * scale, rounded to f32 as DequantizeLinear does
  void (*decode)(const BlockPanel&, float* out);
  void (*rows)(const BlockRowsCall&);
};

namespace avx2 {
extern const BlockTier kBlockTier;
}
namespace avx512 {
extern const BlockTier kBlockTier;
}

}  // namespace lathe::backend::cpu
