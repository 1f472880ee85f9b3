// Products with panels of codes of one tier.
#include "backend/cpu/block_products.h"

#include "backend/cpu/simd.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// Calls body(column, v, weights less their zero points) for the columns [begin, end) of one block and each vector v of
// the panel's 16 rows.
template <bool kHalves, class Body>
inline void each_column(const BlockPanel& panel, int64_t begin, int64_t end, const F32 (&zeros)[kPanelVectors],
                        Body body) {
  if constexpr (kHalves) {
    const I32 low_half = splat_i32(15);
    for (int64_t c = begin; c < end; c += 2) {
      for (int v = 0; v < kPanelVectors; ++v) {
        const I32 two = load_u8(panel.codes + c / 2 * 16 + v * kWidth);
        body(c, v, sub(to_f32(and_bits(two, low_half)), zeros[v]));
        body(c + 1, v, sub(to_f32(shift_right_32<4>(two)), zeros[v]));
      }
    }
  } else {
    for (int64_t c = begin; c < end; ++c) {
      for (int v = 0; v < kPanelVectors; ++v) {
        body(c, v, sub(to_f32(load_u8(panel.codes + c * 16 + v * kWidth)), zeros[v]));
      }
    }
  }
}

// Calls body(begin, end, scales, zeros) for each block.
template <class Body>
inline void each_block(const BlockPanel& panel, Body body) {
  int64_t number = 0;
  for (int64_t begin = 0; begin < panel.columns; begin += panel.block, ++number) {
    const int64_t end = begin + panel.block < panel.columns ? begin + panel.block : panel.columns;
    F32 scales[kPanelVectors], zeros[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) {
      scales[v] = load(panel.scales + number * 16 + v * kWidth);
      zeros[v] = splat(panel.shift);
      if (panel.zeros) zeros[v] = add(zeros[v], load(panel.zeros + number * 16 + v * kWidth));
    }
    body(begin, end, scales, zeros);
  }
}

template <bool kHalves>
void decode_codes(const BlockPanel& panel, float* out) {
  each_block(
      panel, [&](int64_t begin, int64_t end, const F32(&scales)[kPanelVectors], const F32(&zeros)[kPanelVectors]) {
        each_column<kHalves>(panel, begin, end, zeros,
                             [&](int64_t c, int v, F32 w) { store(out + c * 16 + v * kWidth, mul(w, scales[v])); });
      });
}

void decode(const BlockPanel& panel, float* out) {
  return panel.halves ? decode_codes<true>(panel, out) : decode_codes<false>(panel, out);
}

// A block's products are summed before they are scaled.
template <int R, bool kHalves>
void multiply_rows(const BlockRowsCall& call) {
  F32 sums[R][kPanelVectors];
#pragma GCC unroll 16
  for (int i = 0; i < R * kPanelVectors; ++i) sums[i / kPanelVectors][i % kPanelVectors] = zero();
  each_block(call.panel,
             [&](int64_t begin, int64_t end, const F32(&scales)[kPanelVectors], const F32(&zeros)[kPanelVectors]) {
               F32 own[R][kPanelVectors];
#pragma GCC unroll 16
               for (int i = 0; i < R * kPanelVectors; ++i) own[i / kPanelVectors][i % kPanelVectors] = zero();
               each_column<kHalves>(call.panel, begin, end, zeros, [&](int64_t c, int v, F32 w) {
#pragma GCC unroll 4
                 for (int r = 0; r < R; ++r) own[r][v] = fma(splat(call.x[r * call.x_stride + c]), w, own[r][v]);
               });
#pragma GCC unroll 16
               for (int i = 0; i < R * kPanelVectors; ++i) {
                 const int r = i / kPanelVectors, v = i % kPanelVectors;
                 sums[r][v] = fma(own[r][v], scales[v], sums[r][v]);
               }
             });
#pragma GCC unroll 16
  for (int i = 0; i < R * kPanelVectors; ++i) {
    const int r = i / kPanelVectors, v = i % kPanelVectors;
    store(call.sums + r * 16 + v * kWidth, sums[r][v]);
  }
}

template <bool kHalves>
void rows_of(const BlockRowsCall& call) {
  switch (call.row_count) {
    case 1:
      return multiply_rows<1, kHalves>(call);
    case 2:
      return multiply_rows<2, kHalves>(call);
    case 3:
      return multiply_rows<3, kHalves>(call);
    default:
      return multiply_rows<4, kHalves>(call);
  }
}

void rows(const BlockRowsCall& call) {
  return call.panel.halves ? rows_of<true>(call) : rows_of<false>(call);
}

}  // namespace

extern const BlockTier kBlockTier;
const BlockTier kBlockTier = {decode, rows};

}  // namespace lathe::backend::cpu::LATHE_TIER
