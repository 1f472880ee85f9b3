// Products of a few tokens with weights read once, straight from their packed form.
//
// Each output is one chain of fused multiply-adds in the order of the columns (32-column groups for i8), the
// same chain as in linear_gemm_tier.cpp: a token's result does not depend on how many tokens are with it.
#include <string.h>

#include "backend/cpu/linear_decode.h"
#include "backend/cpu/linear_tier.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// Minus the code offset times the sum of a token's codes.
template <int kBits>
inline I32 offset_sum(const int32_t* sum) {
  if constexpr (kBits == 0) return splat_i32(0);
  return shift_left_32<kBits>(splat_i32(*sum));
}

// The planes of a chunk are streams that hardware prefetchers lose at each chunk and page, so packed weights
// are asked for in the order of memory, some way ahead: more than the latency of DRAM (100 ns) times what one
// thread reads (20 to 30 GB/s). Past the end it is a hint that goes nowhere.
constexpr size_t kPrefetchBytes = 4096;
template <Layout kLayout>
inline __attribute__((always_inline)) void prefetch_block(const std::byte* chunk, int b) {
  constexpr size_t kBytes = chunk_offsets(kLayout, 8).size / 8;
  const char* ahead = reinterpret_cast<const char*>(chunk) + kPrefetchBytes + size_t(b) * kBytes;
#pragma GCC unroll 10
  for (size_t line = 0; line < kBytes; line += 64) _mm_prefetch(ahead + line, _MM_HINT_T0);
}

// sum + the products of four columns: a word of weight codes by 8-bit activations.
template <class D>
inline __attribute__((always_inline)) I32 add_products(I32 sum, auto codes, const int8_t* x) {
  if constexpr (D::kSigned && !kIsAvx512) return dot_s8_s8(sum, codes, splat_bytes(x));
  return dot_u8_s8(sum, codes, splat_bytes(x));
}
// The same by 16-bit activations.
template <class D>
inline __attribute__((always_inline)) I32 add_products(I32 sum, I32 codes, const int16_t* x) {
  sum = dot_s16(sum, even_bytes<D::kSigned>(codes), splat_bytes(x));
  return dot_s16(sum, odd_bytes<D::kSigned>(codes), splat_bytes(x + 2));
}

// sums: [T][16]. One panel of a block layout times T tokens of codes, int8_t or int16_t.
template <Layout kLayout, class Code, int T>
__attribute__((noinline)) void gemv_codes(const std::byte* panel, int64_t columns, const Activations& act,
                                          float* sums) {
  using D = Decoder<kLayout>;
  // vpdpbusd takes unsigned codes: signed ones move up by 128. (AVX2 multiplies magnitudes instead.)
  constexpr bool kFlip = D::kSigned && kIsAvx512 && sizeof(Code) == 1;
  constexpr int kOffsetBits = kFlip ? 7 : D::kOffsetBits;
  constexpr int V = kPanelVectors;
  const int64_t groups = columns / kBlockColumns;
  F32 total[V][T];
  for (auto& row : total) {
    for (F32& lane : row) lane = zero();
  }
  for (int64_t first = 0; first < groups; first += 8) {
    const int blocks = int(groups - first < 8 ? groups - first : 8);
    const D decoder(panel, blocks);
    const std::byte* chunk = panel;
    panel += chunk_offsets(kLayout, blocks).size;
    for (int b = 0; b < blocks; ++b) {
      prefetch_block<kLayout>(chunk, b);
      const int64_t g = first + b;
      I32 low[V][T], high[V][T];
      for (int t = 0; t < T; ++t) {
        for (int v = 0; v < V; ++v) {
          low[v][t] = offset_sum<kOffsetBits>(act.sums + (t * groups + g) * 2);
          high[v][t] = offset_sum<kOffsetBits>(act.sums + (t * groups + g) * 2 + 1);
        }
      }
      const auto step = [&]<int J>() __attribute__((always_inline)) {
        for (int v = 0; v < V; ++v) {
          I32 w[2];
          decoder.template codes<J>(b, v, w[0], w[1]);
          if constexpr (kFlip) {
            for (I32& word : w) word = xor_bits(word, splat_i32(int32_t(0x80808080)));
          }
          for (int t = 0; t < T; ++t) {
            const Code* x = static_cast<const Code*>(act.values) + t * columns + g * kBlockColumns + 4 * J;
            low[v][t] = add_products<D>(low[v][t], w[0], x);
            high[v][t] = add_products<D>(high[v][t], w[1], x + 16);
          }
        }
      };
      step.template operator()<0>();
      step.template operator()<1>();
      step.template operator()<2>();
      step.template operator()<3>();
      for (int v = 0; v < V; ++v) {
        const F32 scale = decoder.scale(b, 0, v);
        const F32 second = D::kScales == 2 ? decoder.scale(b, 1, v) : zero();
        const F32 minimum = D::kHasMin ? decoder.minimum(b, v) : zero();
        for (int t = 0; t < T; ++t) {
          const F32 x_scale = splat(act.scales[t * groups + g]);
          F32& sum = total[v][t];
          if constexpr (D::kScales == 2) {
            sum = fma(to_f32(low[v][t]), mul(scale, x_scale), sum);
            sum = fma(to_f32(high[v][t]), mul(second, x_scale), sum);
          } else {
            sum = fma(to_f32(add_i32(low[v][t], high[v][t])), mul(scale, x_scale), sum);
          }
          if constexpr (D::kHasMin) sum = fma(minimum, splat(act.scaled_sums[t * groups + g]), sum);
        }
      }
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int t = 0; t < T; ++t) store(sums + t * 16 + v * kWidth, total[v][t]);
  }
}

// Vector v of panels of plain weights: column c, or the pair of columns c, c + 1 for bf16.
template <Layout kLayout>
inline F32 load_column(const std::byte* panel, int64_t c, int v) {
  const int64_t i = c * 16 + v * kWidth;
  if constexpr (kLayout == Layout::f32_panel) return load(reinterpret_cast<const float*>(panel) + i);
  return load_f16(reinterpret_cast<const uint16_t*>(panel) + i);
}

// sums: [P][stride] of T tokens by 16, read and added to; P panels `panel_stride` bytes apart. x:
// [T][x_stride].
template <Layout kLayout, int P, int T>
__attribute__((noinline)) void gemv_f32(const std::byte* panel, size_t panel_stride, const float* x,
                                        int64_t x_stride, int64_t columns, float* sums, int64_t sum_stride) {
  constexpr int V = P * kPanelVectors;
  F32 total[V][T];
  for (int v = 0; v < V; ++v) {
    for (int t = 0; t < T; ++t) {
      total[v][t] = load(sums + v / kPanelVectors * sum_stride + t * 16 + v % kPanelVectors * kWidth);
    }
  }
  const std::byte* base[P];
  for (int p = 0; p < P; ++p) base[p] = panel + size_t(p) * panel_stride;
  if constexpr (kLayout == Layout::bf16_panel) {
    const I32 upper = splat_i32(int32_t(0xffff0000));
    for (int64_t c = 0; c < columns; c += 2) {
      for (int v = 0; v < V; ++v) {
        const I32 pair = load_i32(base[v / kPanelVectors] + c * 32 + v % kPanelVectors * kWidth * 4);
        const F32 even = float_of(shift_left_32<16>(pair)), odd = float_of(and_bits(pair, upper));
        for (int t = 0; t < T; ++t) {
          total[v][t] = fma(even, splat(x[t * x_stride + c]), total[v][t]);
          total[v][t] = fma(odd, splat(x[t * x_stride + c + 1]), total[v][t]);
        }
      }
    }
  } else {
#pragma GCC unroll 4
    for (int64_t c = 0; c < columns; ++c) {
      for (int v = 0; v < V; ++v) {
        const F32 w = load_column<kLayout>(base[v / kPanelVectors], c, v % kPanelVectors);
        for (int t = 0; t < T; ++t) total[v][t] = fma(w, splat(x[t * x_stride + c]), total[v][t]);
      }
    }
  }
  for (int v = 0; v < V; ++v) {
    for (int t = 0; t < T; ++t) {
      store(sums + v / kPanelVectors * sum_stride + t * 16 + v % kPanelVectors * kWidth, total[v][t]);
    }
  }
}

#if defined(__AVX512F__)
template <int P, int T>
__attribute__((noinline)) void gemv_bf16(const std::byte* panel, size_t panel_stride, const uint16_t* x,
                                         int64_t columns, float* sums, int64_t sum_stride) {
  F32 total[P][T];
  for (auto& row : total) {
    for (F32& lane : row) lane = zero();
  }
#pragma GCC unroll 4
  for (int64_t c = 0; c < columns; c += 2) {
    for (int p = 0; p < P; ++p) {
      const I32 w = load_i32(panel + size_t(p) * panel_stride + c * 32);
      for (int t = 0; t < T; ++t) total[p][t] = dot_bf16(total[p][t], splat_bytes(x + t * columns + c), w);
    }
  }
  for (int p = 0; p < P; ++p) {
    for (int t = 0; t < T; ++t) store(sums + p * sum_stride + t * 16, total[p][t]);
  }
}
#endif

// f32 products with block weights: a chunk of one panel becomes floats, then as f32 panels.
template <Layout kLayout, int T>
void gemv_decoded(const ProductCall& call, const std::byte* panel, float* sums) {
  const int64_t groups = call.columns / kBlockColumns;
  const float* x = static_cast<const float*>(call.activations.values);
  float* decoded = reinterpret_cast<float*>(call.work);
  for (int64_t first = 0; first < groups; first += 8) {
    const int blocks = int(groups - first < 8 ? groups - first : 8);
    dequantise_chunk<kLayout>(panel, blocks, decoded);
    panel += chunk_offsets(kLayout, blocks).size;
    gemv_f32<Layout::f32_panel, 1, T>(call.work, 0, x + first * kBlockColumns, call.columns,
                                      blocks * kBlockColumns, sums, 0);
  }
}

template <int T>
void gemv_block_layout(const ProductCall& call) {
  const size_t stride = panel_bytes(call.layout, call.columns);
  with_block_layout(call.layout, [&](auto tag) __attribute__((always_inline)) {
    for (int64_t p = 0; p < call.count; ++p) {
      const std::byte* panel = call.panels[0] + size_t(p) * stride;
      float* sums = call.sums + p * T * 16;
      if (call.form == Form::i8) {
        gemv_codes<decltype(tag)::value, int8_t, T>(panel, call.columns, call.activations, sums);
      } else if (call.form == Form::i16) {
        gemv_codes<decltype(tag)::value, int16_t, T>(panel, call.columns, call.activations, sums);
      } else {
        gemv_decoded<decltype(tag)::value, T>(call, panel, sums);
      }
    }
  });
}

// P panels at a time as long as there are so many.
template <int P, int T>
void gemv_plain_panels(const ProductCall& call, int64_t& p) {
  const size_t stride = panel_bytes(call.layout, call.columns);
  for (; p + P <= call.count; p += P) {
    const std::byte* panel = call.panels[0] + size_t(p) * stride;
    float* sums = call.sums + p * T * 16;
    const float* x = static_cast<const float*>(call.activations.values);
    if (call.form == Form::bf16) {
#if defined(__AVX512F__)
      const uint16_t* pairs = static_cast<const uint16_t*>(call.activations.values);
      gemv_bf16<P, T>(panel, stride, pairs, call.columns, sums, T * 16);
#endif
    } else if (call.layout == Layout::f32_panel) {
      gemv_f32<Layout::f32_panel, P, T>(panel, stride, x, call.columns, call.columns, sums, T * 16);
    } else if (call.layout == Layout::f16_panel) {
      gemv_f32<Layout::f16_panel, P, T>(panel, stride, x, call.columns, call.columns, sums, T * 16);
    } else {
      gemv_f32<Layout::bf16_panel, P, T>(panel, stride, x, call.columns, call.columns, sums, T * 16);
    }
  }
}

template <int T>
void gemv_tokens(const ProductCall& call) {
  memset(call.sums, 0, size_t(call.count) * T * 16 * 4);
  if (is_block_layout(call.layout)) return gemv_block_layout<T>(call);
  int64_t p = 0;
  if constexpr (T == 1) gemv_plain_panels<4, T>(call, p);
  if constexpr (T <= 2 || kIsAvx512) gemv_plain_panels<2, T>(call, p);
  gemv_plain_panels<1, T>(call, p);
}

}  // namespace

void gemv(const ProductCall& call) {
  switch (call.tokens) {
    case 1:
      return gemv_tokens<1>(call);
    case 2:
      return gemv_tokens<2>(call);
    case 3:
      return gemv_tokens<3>(call);
    default:
      return gemv_tokens<4>(call);
  }
}

}  // namespace lathe::backend::cpu::LATHE_TIER
