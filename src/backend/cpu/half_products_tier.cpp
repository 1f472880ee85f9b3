// Tiles of products with 16-bit weights of one tier: rows x panels of f32 accumulators that stay in registers.
#include "backend/cpu/half_products.h"

#include "backend/cpu/simd.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// The columns of one step, each for all panels and rows. `w` says how vector v of a panel's step is read.
struct F16Steps {
  static constexpr int kColumns = 1;
  static F32 weights(const uint16_t* panel, int v, int) { return load_f16(panel + v * kWidth); }
};
struct Bf16Steps {
  static constexpr int kColumns = 2;
  // A word is a pair, the even column in its low half.
  static F32 weights(const uint16_t* panel, int v, int odd) {
    const I32 words = load_i32(panel + v * kWidth * 2);
    return float_of(odd ? and_bits(words, splat_i32(int32_t(0xffff0000))) : shift_left_32<16>(words));
  }
};

template <int R, int V>
inline void store_sums(const HalfTileCall& call, const F32 (&sums)[R][V]) {
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(call.sums + r * call.sum_stride + v * kWidth, sums[r][v]);
  }
}

// Rows of f32.
template <class Steps, int R, int P>
void wide_tile(const HalfTileCall& call) {
  constexpr int V = P * kPanelVectors;
  F32 sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = zero();
  }
  const uint16_t* panel = call.panels;
  for (int64_t t = 0; t < call.taps; ++t) {
    const float* row[R];
    for (int r = 0; r < R; ++r) row[r] = static_cast<const float*>(call.rows[t * R + r]);
    for (int64_t s = 0; s < call.steps; ++s) {
#pragma GCC unroll 2
      for (int odd = 0; odd < Steps::kColumns; ++odd) {
        F32 w[V];
        for (int p = 0; p < P; ++p) {
          for (int v = 0; v < kPanelVectors; ++v) {
            w[p * kPanelVectors + v] = Steps::weights(panel + p * call.panel_stride, v, odd);
          }
        }
        for (int r = 0; r < R; ++r) {
          const F32 x = splat(row[r][s * Steps::kColumns + odd]);
          for (int v = 0; v < V; ++v) sums[r][v] = fma(x, w[v], sums[r][v]);
        }
      }
      panel += 16 * Steps::kColumns;
    }
  }
  store_sums(call, sums);
}

#if defined(__AVX512F__)
// Rows of bf16: a pair of columns is one word.
template <int R, int P>
void dot_tile(const HalfTileCall& call) {
  F32 sums[R][P];
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) sums[r][p] = zero();
  }
  const uint16_t* panel = call.panels;
  for (int64_t t = 0; t < call.taps; ++t) {
    const uint16_t* row[R];
    for (int r = 0; r < R; ++r) row[r] = static_cast<const uint16_t*>(call.rows[t * R + r]);
    for (int64_t s = 0; s < call.steps; ++s) {
      I32 w[P];
      for (int p = 0; p < P; ++p) w[p] = load_i32(panel + p * call.panel_stride);
      panel += 32;
      for (int r = 0; r < R; ++r) {
        const I32 x = splat_bytes(row[r] + s * 2);
        for (int p = 0; p < P; ++p) sums[r][p] = dot_bf16(sums[r][p], w[p], x);
      }
    }
  }
  store_sums(call, sums);
}
#endif

using Tile = void (*)(const HalfTileCall&);

// Of 1 to kMost rows and kP panels, by number of rows.
template <template <int, int> class Make, int kP, int kMost>
Tile tile_of_rows(int64_t rows) {
  switch (rows) {
#define LATHE_ROWS(n)                                   \
  case n:                                               \
    if constexpr (n <= kMost) return Make<n, kP>::tile; \
    return nullptr;
    LATHE_ROWS(1)
    LATHE_ROWS(2)
    LATHE_ROWS(3)
    LATHE_ROWS(4)
    LATHE_ROWS(5)
    LATHE_ROWS(6)
    LATHE_ROWS(7)
    LATHE_ROWS(8)
#undef LATHE_ROWS
    default:
      return nullptr;
  }
}

template <int R, int P>
struct MakeF16 {
  static constexpr Tile tile = wide_tile<F16Steps, R, P>;
};
template <int R, int P>
struct MakeBf16 {
  static constexpr Tile tile = wide_tile<Bf16Steps, R, P>;
};
#if defined(__AVX512F__)
template <int R, int P>
struct MakeDot {
  static constexpr Tile tile = dot_tile<R, P>;
};
constexpr int kRows4 = 6, kRows3 = 8;  // 24 accumulators of 32 registers
template <template <int, int> class Make>
void run_tile(const HalfTileCall& call) {
  Tile function = nullptr;
  if (call.panel_count == 1) function = tile_of_rows<Make, 1, kRows3>(call.row_count);
  if (call.panel_count == 2) function = tile_of_rows<Make, 2, kRows3>(call.row_count);
  if (call.panel_count == 3) function = tile_of_rows<Make, 3, kRows3>(call.row_count);
  if (call.panel_count == 4) function = tile_of_rows<Make, 4, kRows4>(call.row_count);
  function(call);
}
constexpr HalfTileForm form_of(Tile tile) {
  return {{0, kRows3, kRows3, kRows3, kRows4}, 4, tile};
}
#else
constexpr int kRows1 = 6;  // 12 accumulators of 16 registers
template <template <int, int> class Make>
void run_tile(const HalfTileCall& call) {
  tile_of_rows<Make, 1, kRows1>(call.row_count)(call);
}
constexpr HalfTileForm form_of(Tile tile) {
  return {{0, kRows1, 0, 0, 0}, 1, tile};
}
#endif

// Calls body(first, lanes) for vectors of `count` numbers; fewer lanes than a vector has for the last.
template <class Body>
inline void each_vector(int64_t count, Body body) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) body(i, kWidth);
  if (i < count) body(i, int(count - i));
}
inline F32 get(const float* x, int lanes) {
  return lanes == kWidth ? load(x) : load_part(x, lanes);
}
inline void put(uint16_t* out, const uint16_t* bits, int lanes) {
  for (int i = 0; i < lanes; ++i) out[i] = bits[i];
}

void to_bf16(const float* x, int64_t count, uint16_t* out) {
  each_vector(count, [&](int64_t i, int lanes) {
    if (lanes == kWidth) return store_bf16(out + i, load(x + i));
    uint16_t bits[kWidth];
    store_bf16(bits, get(x + i, lanes));
    put(out + i, bits, lanes);
  });
}

void round_bf16(const float* x, int64_t count, float* out) {
  each_vector(count, [&](int64_t i, int lanes) {
    uint16_t bits[kWidth];
    store_bf16(bits, get(x + i, lanes));
    const F32 rounded = load_bf16(bits);
    lanes == kWidth ? store(out + i, rounded) : store_part(out + i, rounded, lanes);
  });
}

void to_f16(const float* x, int64_t count, uint16_t* out) {
  each_vector(count, [&](int64_t i, int lanes) {
    if (lanes == kWidth) return store_f16(out + i, load(x + i));
    uint16_t bits[kWidth];
    store_f16(bits, get(x + i, lanes));
    put(out + i, bits, lanes);
  });
}

template <class Steps>
void widen(const uint16_t* panel, int64_t columns, float* out) {
  for (int64_t c = 0; c < columns; ++c) {
    for (int v = 0; v < kPanelVectors; ++v) {
      const uint16_t* step = panel + c / Steps::kColumns * 16 * Steps::kColumns;
      store(out + c * 16 + v * kWidth, Steps::weights(step, v, int(c % Steps::kColumns)));
    }
  }
}

}  // namespace

extern const HalfTier kHalfTier;
const HalfTier kHalfTier = {
#if defined(__AVX512F__)
    {form_of(run_tile<MakeDot>), form_of(run_tile<MakeBf16>), form_of(run_tile<MakeF16>)},
#else
    {{{}, 0, nullptr}, form_of(run_tile<MakeBf16>), form_of(run_tile<MakeF16>)},
#endif
    to_bf16,
    round_bf16,
    to_f16,
    widen<Bf16Steps>,
    widen<F16Steps>};

}  // namespace lathe::backend::cpu::LATHE_TIER
