// Products of many tokens: a chunk of two panels of weights is unpacked once into the nearest cache, then
// meets every tile of tokens. Two vectors of rows by N tokens of sums stay in registers.
#include <string.h>

#include "backend/cpu/linear_codes.h"
#include "backend/cpu/linear_tier.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

constexpr int kTileF32 = kIsAvx512 ? 12 : 6;
constexpr int kTileBf16 = 12;
constexpr int kTileI8 = kIsAvx512 ? 6 : 4;
constexpr int kTileI16 = 6;
constexpr int64_t kSumStride = 32;  // sums are [token][2 panels][16]

// A chunk of one panel as the i16 tiles read it: signed codes without their offset, [column / 4][2][16 rows][2]
// in the order of Activations; scales and minima as in CodePanel.
struct WidePanel {
  int16_t codes[kChunkColumns * 16];
  float scales[kChunkColumns / 16 * 16];
  float minima[kChunkColumns / 32 * 16];
};
static_assert(2 * sizeof(WidePanel) <= kWorkSize);

template <Layout kLayout>
void unpack_wide(const std::byte* chunk, int blocks, WidePanel& out) {
  using D = Decoder<kLayout>;
  const D decoder(chunk, blocks);
  for (int b = 0; b < blocks; ++b) {
    for (int v = 0; v < kPanelVectors; ++v) {
      const int lane = v * kWidth;
      const auto step = [&]<int J>() __attribute__((always_inline)) {
        I32 w[2];
        decoder.template codes<J>(b, v, w[0], w[1]);
        for (int half = 0; half < 2; ++half) {
          if constexpr (D::kHasOffset) w[half] = sub_i8(w[half], splat_i32(0x01010101 << D::kOffsetBits));
          int16_t* place = out.codes + ((8 * b + 4 * half + J) * 32 + lane) * 2;
          store_i32(place, even_bytes<true>(w[half]));
          store_i32(place + 32, odd_bytes<true>(w[half]));
        }
      };
      step.template operator()<0>();
      step.template operator()<1>();
      step.template operator()<2>();
      step.template operator()<3>();
      for (int s = 0; s < D::kScales; ++s) store(out.scales + (b * D::kScales + s) * 16 + lane, decoder.scale(b, s, v));
      if constexpr (D::kHasMin) store(out.minima + b * 16 + lane, decoder.minimum(b, v));
    }
  }
}

// One tile's activations, from a chunk on.
template <int N, class Code = uint8_t>
struct CodeTile {
  CodeTile(const Activations& act, int64_t groups, int64_t tile, int64_t group) {
    const int64_t i = tile * groups + group;
    codes = static_cast<const Code*>(act.values) + i * 8 * N * 4;
    scales = act.scales + i * N;
    scaled_sums = act.scaled_sums + i * N;
    sums = act.sums + i * 2 * N;
  }
  const Code* codes;
  const float* scales;
  const float* scaled_sums;
  const int32_t* sums;
};

#if defined(__AVX512F__)

template <class D, int V>
__attribute__((noinline)) void tile_i8(const CodePanel* panels, const CodeTile<kTileI8>& tile, int blocks,
                                       float* sums) {
  constexpr int N = kTileI8;
  F32 total[V][N];
  for (int v = 0; v < V; ++v) {
    for (int n = 0; n < N; ++n) total[v][n] = load(sums + n * kSumStride + v * 16);
  }
  for (int b = 0; b < blocks; ++b) {
    for (int s = 0; s < D::kScales; ++s) {
      I32 dot[V][N];
      for (int v = 0; v < V; ++v) {
        const I32 bias = load_i32(panels[v].biases + (b * D::kScales + s) * 16);
        for (int n = 0; n < N; ++n) dot[v][n] = bias;
      }
      constexpr int kSteps = 8 / D::kScales;
#pragma GCC unroll 8
      for (int k = 0; k < kSteps; ++k) {
        const int word = 8 * b + kSteps * s + k;
        I32 w[V];
        for (int v = 0; v < V; ++v) w[v] = load_i32(panels[v].codes + word * 64);
        for (int n = 0; n < N; ++n) {
          const I32 x = splat_bytes(tile.codes + (word * N + n) * 4);
          for (int v = 0; v < V; ++v) dot[v][n] = dot_u8_s8(dot[v][n], x, w[v]);
        }
        for (int v = 0; v < V; ++v) {
          for (int n = 0; n < N; ++n) pin(dot[v][n]);
        }
      }
      for (int v = 0; v < V; ++v) {
        const F32 scale = load(panels[v].scales + (b * D::kScales + s) * 16);
        for (int n = 0; n < N; ++n) {
          total[v][n] = fma(to_f32(dot[v][n]), mul(scale, splat(tile.scales[b * N + n])), total[v][n]);
        }
      }
    }
    if constexpr (D::kHasMin) {
      for (int v = 0; v < V; ++v) {
        const F32 minimum = load(panels[v].minima + b * 16);
        for (int n = 0; n < N; ++n) {
          total[v][n] = fma(minimum, splat(tile.scaled_sums[b * N + n]), total[v][n]);
        }
      }
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int n = 0; n < N; ++n) store(sums + n * kSumStride + v * 16, total[v][n]);
  }
}

// Pairs of bf16: V panels by 12 tokens, all columns.
template <int V>
__attribute__((noinline)) void tile_bf16(const std::byte* const* panels, const uint16_t* x, int64_t columns,
                                         float* sums) {
  constexpr int N = kTileBf16;
  F32 total[V][N];
  for (int v = 0; v < V; ++v) {
    for (int n = 0; n < N; ++n) total[v][n] = load(sums + n * kSumStride + v * 16);
  }
  for (int64_t c = 0; c < columns; c += 2, x += 2 * N) {
    I32 w[V];
    for (int v = 0; v < V; ++v) w[v] = load_i32(panels[v] + c * 32);
    for (int n = 0; n < N; ++n) {
      const I32 pair = splat_bytes(x + 2 * n);
      for (int v = 0; v < V; ++v) total[v][n] = dot_bf16(total[v][n], pair, w[v]);
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int n = 0; n < N; ++n) store(sums + n * kSumStride + v * 16, total[v][n]);
  }
}

#else

// What 16-bit sums of products hold, for codes c with offset z and activations |a| <= 127. Sums wrap, so only
// the final value of a lane must fit: it begins at -z * (sum of its activations) and ends as the sum over its
// products of (c - z) a. 4 bits, z = 8 or 0, 16 products: at most 15 * 127 * 16 = 30480. 5 bits, z = 16, 16
// products: 16 * 127 * 16 = 32512. 6 bits, z = 32, 8 products (one scale): 32 * 127 * 8 = 32512. Each
// vpmaddubsw adds two products and saturates: at most 2 * 63 * 127 = 16002, never. Five bits with a minimum
// have no offset of their own; they take 16 for the sum and give it back in 32 bits.
template <class D>
__attribute__((noinline)) void tile_i8(const CodePanel& panel, const CodeTile<kTileI8>& tile, int blocks,
                                       float* sums) {
  constexpr int N = kTileI8;
  constexpr bool kBorrowed = D::kFive && D::kHasMin;
  constexpr int kOffsetBits = kBorrowed ? 4 : D::kOffsetBits;
  const I32 ones = _mm256_set1_epi16(1);
  for (int b = 0; b < blocks; ++b) {
    for (int s = 0; s < D::kScales; ++s) {
      I32 dot[2][N], start[N];
      for (int n = 0; n < N; ++n) {
        const int32_t* pairs = tile.sums + b * 2 * N + n;
        start[n] = splat_i32(pairs[s * N]);
        if constexpr (D::kScales == 1) start[n] = _mm256_add_epi16(start[n], splat_i32(pairs[N]));
        start[n] = kOffsetBits ? shift_left_16<kOffsetBits>(start[n]) : splat_i32(0);
        dot[0][n] = dot[1][n] = start[n];
      }
      constexpr int kSteps = 8 / D::kScales;
#pragma GCC unroll 8
      for (int k = 0; k < kSteps; ++k) {
        const int word = 8 * b + kSteps * s + k;
        const I32 w0 = load_i32(panel.codes + word * 64), w1 = load_i32(panel.codes + word * 64 + 32);
        for (int n = 0; n < N; ++n) {
          const I32 x = splat_bytes(tile.codes + (word * N + n) * 4);
          dot[0][n] = _mm256_add_epi16(dot[0][n], _mm256_maddubs_epi16(w0, x));
          dot[1][n] = _mm256_add_epi16(dot[1][n], _mm256_maddubs_epi16(w1, x));
        }
        for (int n = 0; n < N; ++n) {
          pin(dot[0][n]);
          pin(dot[1][n]);
        }
      }
      for (int v = 0; v < 2; ++v) {
        const F32 scale = load(panel.scales + (b * D::kScales + s) * 16 + v * 8);
        for (int n = 0; n < N; ++n) {
          I32 whole = _mm256_madd_epi16(dot[v][n], ones);
          if constexpr (kBorrowed) whole = _mm256_sub_epi32(whole, _mm256_madd_epi16(start[n], ones));
          float* sum = sums + n * kSumStride + v * 8;
          store(sum, fma(to_f32(whole), mul(scale, splat(tile.scales[b * N + n])), load(sum)));
        }
      }
    }
    if constexpr (D::kHasMin) {
      for (int v = 0; v < 2; ++v) {
        const F32 minimum = load(panel.minima + b * 16 + v * 8);
        for (int n = 0; n < N; ++n) {
          float* sum = sums + n * kSumStride + v * 8;
          store(sum, fma(minimum, splat(tile.scaled_sums[b * N + n]), load(sum)));
        }
      }
    }
  }
}

// Signed 8-bit codes: magnitudes by activations that take the codes' signs, exact as dot_u8_s8 says.
__attribute__((noinline)) void tile_s8(const CodePanel& panel, const CodeTile<kTileI8>& tile, int blocks,
                                       float* sums) {
  constexpr int N = kTileI8;
  for (int b = 0; b < blocks; ++b) {
    for (int v = 0; v < 2; ++v) {
      I32 dot[N];
      for (I32& d : dot) d = splat_i32(0);
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        const I32 w = load_i32(panel.codes + ((8 * b + k) * 16 + v * 8) * 4);
        const I32 magnitude = _mm256_abs_epi8(w);
        for (int n = 0; n < N; ++n) {
          const I32 x = splat_bytes(tile.codes + ((8 * b + k) * N + n) * 4);
          dot[n] = dot_u8_s8(dot[n], magnitude, _mm256_sign_epi8(x, w));
        }
        for (I32& d : dot) pin(d);
      }
      const F32 scale = load(panel.scales + b * 16 + v * 8);
      for (int n = 0; n < N; ++n) {
        float* sum = sums + n * kSumStride + v * 8;
        store(sum, fma(to_f32(dot[n]), mul(scale, splat(tile.scales[b * N + n])), load(sum)));
      }
    }
  }
}

#endif

template <Layout kLayout>
void gemm_i8(const ProductCall& call) {
  using D = Decoder<kLayout>;
  constexpr int N = kTileI8;
  CodePanel* panels = reinterpret_cast<CodePanel*>(call.work);
  const int64_t groups = call.columns / kBlockColumns;
  size_t offset = 0;
  for (int64_t first = 0; first < groups; first += 8) {
    const int blocks = int(groups - first < 8 ? groups - first : 8);
    for (int64_t p = 0; p < call.count; ++p)
      unpack_codes<kLayout>(call.panels[p] + offset, blocks, panels[p]);
    offset += chunk_offsets(kLayout, blocks).size;
    for (int64_t tile = 0; tile * N < call.tokens; ++tile) {
      const CodeTile<N> x(call.activations, groups, tile, first);
      float* sums = call.sums + tile * N * kSumStride;
#if defined(__AVX512F__)
      if (call.count == 2) {
        tile_i8<D, 2>(panels, x, blocks, sums);
      } else {
        tile_i8<D, 1>(panels, x, blocks, sums);
      }
#else
      for (int64_t p = 0; p < call.count; ++p) {
        if constexpr (D::kSigned) {
          tile_s8(panels[p], x, blocks, sums + p * 16);
        } else {
          tile_i8<D>(panels[p], x, blocks, sums + p * 16);
        }
      }
#endif
    }
  }
}

// Two vectors of rows (two panels, or the halves of one) by T tiles of tokens. Sums of 32 products of 16 by 8
// bits fit 32 bits.
template <class D, int V, int T>
__attribute__((noinline)) void tile_i16(const WidePanel* panels, const CodeTile<kTileI16, int16_t>* tiles, int blocks,
                                        float* sums) {
  constexpr int N = kTileI16;
  constexpr int kSteps = 16 / D::kScales;
  const auto rows = [&](int v) { return v % kPanelVectors * kWidth; };
  for (int b = 0; b < blocks; ++b) {
    for (int s = 0; s < D::kScales; ++s) {
      I32 dot[V][T * N];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
#pragma GCC unroll 12
        for (int n = 0; n < T * N; ++n) dot[v][n] = splat_i32(0);
      }
#pragma GCC unroll 4
      for (int k = 0; k < kSteps; ++k) {
        const int pair = 16 * b + kSteps * s + k;
        I32 w[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) w[v] = load_i32(panels[v / kPanelVectors].codes + (pair * 16 + rows(v)) * 2);
#pragma GCC unroll 12
        for (int n = 0; n < T * N; ++n) {
          const I32 x = splat_bytes(tiles[n / N].codes + (pair * N + n % N) * 2);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) {
            dot[v][n] = dot_s16(dot[v][n], x, w[v]);
            pin(dot[v][n]);
          }
        }
      }
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        const F32 scale = load(panels[v / kPanelVectors].scales + (b * D::kScales + s) * 16 + rows(v));
#pragma GCC unroll 12
        for (int n = 0; n < T * N; ++n) {
          float* sum = sums + n * kSumStride + v * kWidth;
          const F32 both = mul(scale, splat(tiles[n / N].scales[b * N + n % N]));
          store(sum, fma(to_f32(dot[v][n]), both, load(sum)));
        }
      }
    }
    if constexpr (D::kHasMin) {
      for (int v = 0; v < V; ++v) {
        const F32 minimum = load(panels[v / kPanelVectors].minima + b * 16 + rows(v));
        for (int n = 0; n < T * N; ++n) {
          float* sum = sums + n * kSumStride + v * kWidth;
          store(sum, fma(minimum, splat(tiles[n / N].scaled_sums[b * N + n % N]), load(sum)));
        }
      }
    }
  }
}

// `count` panels by T tiles. AVX2 has registers for one panel and one tile.
template <class D, int T>
void tiles_i16(const WidePanel* panels, int64_t count, const CodeTile<kTileI16, int16_t>* tiles, int blocks,
               float* sums) {
  if (kIsAvx512 && count == 2) {
    tile_i16<D, 2, T>(panels, tiles, blocks, sums);
    return;
  }
  for (int64_t p = 0; p < count; ++p) tile_i16<D, kPanelVectors, T>(panels + p, tiles, blocks, sums + p * 16);
}

template <Layout kLayout>
void gemm_i16(const ProductCall& call) {
  using D = Decoder<kLayout>;
  constexpr int N = kTileI16;
  WidePanel* panels = reinterpret_cast<WidePanel*>(call.work);
  const int64_t groups = call.columns / kBlockColumns, tiles = call.tokens / N;
  size_t offset = 0;
  for (int64_t first = 0; first < groups; first += 8) {
    const int blocks = int(groups - first < 8 ? groups - first : 8);
    for (int64_t p = 0; p < call.count; ++p) unpack_wide<kLayout>(call.panels[p] + offset, blocks, panels[p]);
    offset += chunk_offsets(kLayout, blocks).size;
    int64_t tile = 0;
    for (; kIsAvx512 && tile + 2 <= tiles; tile += 2) {
      const CodeTile<N, int16_t> x[2] = {{call.activations, groups, tile, first},
                                         {call.activations, groups, tile + 1, first}};
      tiles_i16<D, kIsAvx512 ? 2 : 1>(panels, call.count, x, blocks, call.sums + tile * N * kSumStride);
    }
    for (; tile < tiles; ++tile) {
      const CodeTile<N, int16_t> x(call.activations, groups, tile, first);
      tiles_i16<D, 1>(panels, call.count, &x, blocks, call.sums + tile * N * kSumStride);
    }
  }
}

// V vectors of rows, rows[v] being [column][16 rows], by a tile of tokens [column][N]. gcc 12 keeps the sums
// in memory unless all loops over them are unrolled by order.
template <int V>
__attribute__((noinline)) void tile_f32(const float* const* rows, const float* x, int64_t columns,
                                        float* const* out) {
  constexpr int N = kTileF32;
  F32 total[V][N];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 12
    for (int n = 0; n < N; ++n) total[v][n] = load(out[v] + n * kSumStride);
  }
  const float* base[V];
  for (int v = 0; v < V; ++v) base[v] = rows[v];
  for (int64_t c = 0; c < columns; ++c, x += N) {
    F32 w[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) w[v] = load(base[v] + c * 16);
#pragma GCC unroll 12
    for (int n = 0; n < N; ++n) {
      const F32 token = splat(x[n]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) total[v][n] = fma(w[v], token, total[v][n]);
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 12
    for (int n = 0; n < N; ++n) store(out[v] + n * kSumStride, total[v][n]);
  }
}

void widen_plain(Layout layout, const std::byte* panel, int64_t columns, float* out) {
  const uint16_t* bits = reinterpret_cast<const uint16_t*>(panel);
  if (layout == Layout::f16_panel) {
    for (int64_t i = 0; i < columns * 16; i += kWidth) store(out + i, load_f16(bits + i));
    return;
  }
  for (int64_t c = 0; c < columns; c += 2) {  // pairs of columns
    for (int v = 0; v < kPanelVectors; ++v) {
      const I32 pair = load_i32(panel + c * 32 + v * kWidth * 4);
      store(out + c * 16 + v * kWidth, float_of(shift_left_32<16>(pair)));
      store(out + c * 16 + 16 + v * kWidth, float_of(and_bits(pair, splat_i32(int32_t(0xffff0000)))));
    }
  }
}

void gemm_f32(const ProductCall& call) {
  constexpr int N = kTileF32;
  float* work = reinterpret_cast<float*>(call.work);
  size_t offset = 0;
  for (int64_t first = 0; first < call.columns; first += kChunkColumns) {
    const int64_t columns = call.columns - first < kChunkColumns ? call.columns - first : kChunkColumns;
    const float* rows[4];
    for (int64_t p = 0; p < call.count; ++p) {
      const std::byte* source = call.panels[p] + offset;
      float* decoded = work + p * kChunkColumns * 16;
      const float* panel = decoded;
      if (is_block_layout(call.layout)) {
        with_block_layout(call.layout, [&](auto tag) {
          dequantise_chunk<decltype(tag)::value>(source, int(columns / kBlockColumns), decoded);
        });
      } else if (call.layout == Layout::f32_panel) {
        panel = reinterpret_cast<const float*>(source);
      } else {
        widen_plain(call.layout, source, columns, decoded);
      }
      for (int v = 0; v < kPanelVectors; ++v) rows[p * kPanelVectors + v] = panel + v * kWidth;
    }
    if (is_block_layout(call.layout)) {
      offset += chunk_offsets(call.layout, columns / kBlockColumns).size;
    } else {
      offset += size_t(columns) * 16 * (call.layout == Layout::f32_panel ? 4 : 2);
    }
    const int64_t vectors = call.count * kPanelVectors;
    for (int64_t tile = 0; tile * N < call.tokens; ++tile) {
      const float* x = static_cast<const float*>(call.activations.values) + (tile * call.columns + first) * N;
      float* out[4];
      for (int64_t v = 0; v < vectors; ++v) out[v] = call.sums + tile * N * kSumStride + v * kWidth;
      for (int64_t v = 0; v < vectors; v += 2) {
        if (vectors - v >= 2) {
          tile_f32<2>(rows + v, x, columns, out + v);
        } else {
          tile_f32<1>(rows + v, x, columns, out + v);
        }
      }
    }
  }
}

void gemm_bf16([[maybe_unused]] const ProductCall& call) {
#if defined(__AVX512F__)
  constexpr int N = kTileBf16;
  constexpr int64_t kColumns = 2 * kChunkColumns;  // as many bytes as a chunk of floats
  for (int64_t first = 0; first < call.columns; first += kColumns) {
    const int64_t columns = call.columns - first < kColumns ? call.columns - first : kColumns;
    const std::byte* panels[2] = {call.panels[0] + first * 32, nullptr};
    if (call.count == 2) panels[1] = call.panels[1] + first * 32;
    for (int64_t tile = 0; tile * N < call.tokens; ++tile) {
      const uint16_t* x =
          static_cast<const uint16_t*>(call.activations.values) + (tile * call.columns + first) * N;
      float* sums = call.sums + tile * N * kSumStride;
      if (call.count == 2) {
        tile_bf16<2>(panels, x, columns, sums);
      } else {
        tile_bf16<1>(panels, x, columns, sums);
      }
    }
  }
#endif
}

}  // namespace

void gemm(const ProductCall& call) {
  for (int64_t t = 0; t < call.tokens; ++t) memset(call.sums + t * kSumStride, 0, size_t(call.count) * 64);
  if (call.form == Form::i8) {
    with_block_layout(call.layout, [&](auto tag) { gemm_i8<decltype(tag)::value>(call); });
  } else if (call.form == Form::i16) {
    with_block_layout(call.layout, [&](auto tag) { gemm_i16<decltype(tag)::value>(call); });
  } else if (call.form == Form::bf16) {
    gemm_bf16(call);
  } else {
    gemm_f32(call);
  }
}

}  // namespace lathe::backend::cpu::LATHE_TIER
