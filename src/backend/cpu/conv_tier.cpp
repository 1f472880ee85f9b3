// Tiles of products of one tier: rows x panels of accumulators that stay in registers.
#include "backend/cpu/conv.h"

#include "backend/cpu/vector_math.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

constexpr int kPanelVectors = 16 / kWidth;
#if defined(__AVX512F__)
constexpr int kPanels = 4;  // 6 x 4 or 8 x 3 accumulators of 32 registers
#else
constexpr int kPanels = 1;  // 6 x 2 of 16
#endif

template <int R, int P>
void tile(const TileCall& call) {
  constexpr int V = P * kPanelVectors;
  F32 sums[R][V];
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) sums[r][v] = zero();
  }
  const float* panel = call.panels;
  const int64_t stride = call.panel_stride;
  for (int64_t t = 0; t < call.taps; ++t) {
    const float* row[R];
    for (int r = 0; r < R; ++r) row[r] = call.rows[t * R + r];
    for (int64_t c = 0; c < call.columns; ++c) {
      F32 w[V];
      for (int p = 0; p < P; ++p) {
        for (int v = 0; v < kPanelVectors; ++v) w[p * kPanelVectors + v] = load(panel + p * stride + v * kWidth);
      }
      panel += 16;
      for (int r = 0; r < R; ++r) {
        const F32 x = splat(row[r][c]);
        for (int v = 0; v < V; ++v) sums[r][v] = fma(x, w[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) store(call.sums + r * call.sum_stride + v * kWidth, sums[r][v]);
  }
}

using Tile = void (*)(const TileCall&);
template <int P>
Tile tile_of_rows(int64_t rows) {
  switch (rows) {
    case 1:
      return tile<1, P>;
    case 2:
      return tile<2, P>;
    case 3:
      return tile<3, P>;
    case 4:
      return tile<4, P>;
    case 5:
      return tile<5, P>;
    case 6:
      return tile<6, P>;
    case 7:
      if constexpr (P * kPanelVectors <= 3) return tile<7, P>;
      return nullptr;
    default:
      if constexpr (P * kPanelVectors <= 3) return tile<8, P>;
      return nullptr;
  }
}

void run_tile(const TileCall& call) {
  Tile function = nullptr;
  if (call.panel_count == 1) function = tile_of_rows<1>(call.row_count);
  if constexpr (kPanels == 4) {
    if (call.panel_count == 2) function = tile_of_rows<2>(call.row_count);
    if (call.panel_count == 3) function = tile_of_rows<3>(call.row_count);
    if (call.panel_count == 4) function = tile_of_rows<4>(call.row_count);
  }
  function(call);
}

void finish(const FinishTileCall& call) {
  const F32 low = splat(call.low), high = splat(call.high);
  for (int64_t r = 0; r < call.row_count; ++r) {
    const float* sums = call.sums + r * call.sum_stride;
    const float* residual = call.residual ? call.residual + r * call.stride : nullptr;
    float* y = call.y + r * call.stride;
    for (int64_t j = 0; j < call.features; j += kWidth) {
      const int rest = int(call.features - j < kWidth ? call.features - j : kWidth);
      F32 x = load(sums + j);
      if (call.bias) x = add(x, rest == kWidth ? load(call.bias + j) : load_part(call.bias + j, rest));
      if (residual) x = add(x, rest == kWidth ? load(residual + j) : load_part(residual + j, rest));
      x = min(high, max(low, x));
      if (rest == kWidth) {
        store(y + j, x);
      } else {
        store_part(y + j, x, rest);
      }
    }
  }
}

// B vectors of channels at once: independent sums hide the latency of the products.
template <int B>
inline void depthwise_block(const DepthwiseCall& call, int64_t c) {
  F32 sums[B];
  for (int b = 0; b < B; ++b) sums[b] = call.bias ? load(call.bias + c + b * kWidth) : zero();
  for (int64_t t = 0; t < call.taps; ++t) {
    const float* x = call.rows[t] + c;
    const float* w = call.weights + t * call.weight_stride + c;
    for (int b = 0; b < B; ++b) sums[b] = fma(load(x + b * kWidth), load(w + b * kWidth), sums[b]);
  }
  for (int b = 0; b < B; ++b) {
    F32 y = sums[b];
    if (call.residual) y = add(y, load(call.residual + c + b * kWidth));
    store(call.y + c + b * kWidth, min(splat(call.high), max(splat(call.low), y)));
  }
}

void depthwise(const DepthwiseCall& call) {
  int64_t c = 0;
  for (; c + 4 * kWidth <= call.count; c += 4 * kWidth) depthwise_block<4>(call, c);
  for (; c + kWidth <= call.count; c += kWidth) depthwise_block<1>(call, c);
  const int rest = int(call.count - c);
  if (rest == 0) return;
  F32 sum = call.bias ? load_part(call.bias + c, rest) : zero();
  for (int64_t t = 0; t < call.taps; ++t) {
    sum = fma(load_part(call.rows[t] + c, rest), load_part(call.weights + t * call.weight_stride + c, rest), sum);
  }
  if (call.residual) sum = add(sum, load_part(call.residual + c, rest));
  store_part(call.y + c, min(splat(call.high), max(splat(call.low), sum)), rest);
}

}  // namespace

extern const ConvTier kConvTier;
#if defined(__AVX512F__)
const ConvTier kConvTier = {{0, 8, 8, 8, 6}, 4, run_tile, finish, depthwise};
#else
const ConvTier kConvTier = {{0, 6, 0, 0, 0}, 1, run_tile, finish, depthwise};
#endif

}  // namespace lathe::backend::cpu::LATHE_TIER
