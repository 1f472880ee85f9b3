// Linear layers in tiles: products of bf16 for any number of tokens, products of codes for many. Codes give the sums of
// AVX-512 to the bit: they are exact within a block of 32 columns, and the blocks are added in the same order.
//
// Activations lie in rows, one behind the other (linear_tier.h), so that a tile of activations is one token here. Codes
// of 16 bits are two planes of bytes, x = 256 * high + low with high signed and low not: [token][32 columns][high 32,
// low 32].
#include <string.h>

#include "backend/cpu/linear_codes.h"
#include "backend/cpu/tile_block.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

constexpr int64_t kSumStride = 32;  // of gemm: [token][2 panels][16]

bool in_tiles(Form form) {
  return form == Form::bf16 || form == Form::i8 || form == Form::i16;
}

// 32 codes of 16 bits, as prepare_rows leaves them (each four columns c, c + 2, c + 1, c + 3), to planes of bytes.
void split_codes(void* codes) {
  const __m128i four = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  const __m256i order = _mm256_broadcastsi128_si256(four);
  const I32 x = load_i32(codes);
  const __m256i high = _mm512_cvtepi16_epi8(shift_right_16<8>(x)), low = _mm512_cvtepi16_epi8(x);
  auto* out = static_cast<__m256i*>(codes);
  _mm256_storeu_si256(out, _mm256_shuffle_epi8(high, order));
  _mm256_storeu_si256(out + 1, _mm256_shuffle_epi8(low, order));
}

void prepare_tiles(const PrepareCall& call, int64_t first, int64_t end) {
  if (!in_tiles(call.form)) return avx512::kLinearTier.prepare_tiles(call, first, end);
  const int64_t columns = call.columns, groups = columns / kBlockColumns;
  const int64_t row_bytes = columns * (call.form == Form::i8 ? 1 : 2);
  for (int64_t token = first; token < end; ++token) {
    PrepareCall one = call;
    one.x += token * columns;
    one.tokens = 1;
    one.out.values = static_cast<std::byte*>(call.out.values) + token * row_bytes;
    one.out.scales += token * groups;
    one.out.scaled_sums += token * groups;
    one.out.sums += token * groups * 2;
    avx512::kLinearTier.prepare_rows(one);
    if (call.form != Form::i16) continue;
    for (int64_t g = 0; g < groups; ++g) split_codes(static_cast<std::byte*>(one.out.values) + g * 64);
  }
}

// Sums of one or two panels (`second` may be null), where each caller wants them.
struct Bf16Sums {
  float* sums;
  int64_t token_stride, panel_stride;  // floats
};
void multiply_bf16(const ProductCall& call, const std::byte* first, const std::byte* second, const Bf16Sums& out) {
  const auto* x = static_cast<const std::byte*>(call.activations.values);
  const void* rows[kBlockRows];
  for (int64_t token = 0; token < call.tokens; token += kBlockRows) {
    const int64_t rest = call.tokens - token, row_count = rest < kBlockRows ? rest : kBlockRows;
    for (int64_t r = 0; r < row_count; ++r) rows[r] = x + (token + r) * call.columns * 2;
    multiply_block<TileProduct::bf16>({.rows = rows,
                                       .row_count = row_count,
                                       .taps = 1,
                                       .steps = call.columns / 2,
                                       .panels = {first, second},
                                       .panel_count = second ? 2 : 1,
                                       .initial = nullptr,
                                       .sums = reinterpret_cast<std::byte*>(out.sums + token * out.token_stride),
                                       .sum_stride = out.token_stride * 4,
                                       .panel_sums = out.panel_stride * 4},
                                      *call.tiles);
  }
}

void gemv(const ProductCall& call) {
  if (call.form != Form::bf16) return avx512::kLinearTier.gemv(call);
  const auto stride = int64_t(panel_bytes(call.layout, call.columns));
  for (int64_t p = 0; p < call.count; p += kBlockPanels) {
    const std::byte* panel = call.panels[0] + p * stride;
    multiply_bf16(call, panel, p + 1 < call.count ? panel + stride : nullptr,
                  {call.sums + p * call.tokens * 16, 16, call.tokens * 16});
  }
}

// A chunk of weights and the codes of up to 32 tokens (16 of 16 bits), from a chunk on.
struct CodeBlock {
  const CodePanel* panels;
  int64_t count;
  const std::byte* codes;
  int64_t code_stride;  // bytes from one token to the next
  const float* scales;
  const float* scaled_sums;
  int64_t group_stride;  // of these, from one token to the next
  int64_t tokens;
  float* sums;
};
// The tiles of one scale: [accumulator][16 tokens][16 rows].
struct alignas(64) Dots {
  int32_t tiles[4][kTileRows][16];
};

// sums += dot * (scale of the weights * scale of the token), then the minimum, each as linear_gemm_tier.cpp rounds it.
template <class D, bool kWide>
void add_dots(const CodeBlock& block, const Dots& dots, int b, int s) {
  constexpr bool kHasMin = D::kHasMin;
  const bool last = s == D::kScales - 1;
  for (int64_t p = 0; p < block.count; ++p) {
    const CodePanel& panel = block.panels[p];
    const F32 scale = load(panel.scales + (b * D::kScales + s) * 16);
    const F32 minimum = kHasMin ? load(panel.minima + b * 16) : zero();
    for (int64_t n = 0; n < block.tokens; ++n) {
      const int64_t lower = kWide ? 0 : n / kTileRows, row = n % kTileRows;
      I32 dot = load_i32(dots.tiles[2 * lower + p][row]);
      if constexpr (kWide) dot = add_i32(shift_left_32<8>(dot), load_i32(dots.tiles[2 + p][row]));
      float* place = block.sums + n * kSumStride + p * 16;
      F32 sum = fma(to_f32(dot), mul(scale, splat(block.scales[n * block.group_stride + b])), load(place));
      if (kHasMin && last) sum = fma(minimum, splat(block.scaled_sums[n * block.group_stride + b]), sum);
      store(place, sum);
    }
  }
}

// The products of one scale's columns. Of 16 bits tile 4 holds high bytes and tile 5 low ones, of 8 bits they hold the
// first 16 tokens and the others.
template <bool kWide>
void multiply_codes(const CodeBlock& block, const std::byte* codes, int64_t weights, Dots& dots) {
  const bool lower = kWide || block.tokens > kTileRows;
  const auto store_tile = [&](int tile) { return dots.tiles[tile]; };
  const auto second = [&]<int C, int B>() __attribute__((always_inline)) {
    Tiles::zero<C>();
    if constexpr (kWide) {
      Tiles::multiply<TileProduct::u8_s8, C, 5, B>();
    } else {
      Tiles::multiply<TileProduct::s8_s8, C, 5, B>();
    }
    Tiles::store<C>(store_tile(C), 64);
  };
  Tiles::load<4>(codes, block.code_stride);
  if (lower) Tiles::load<5>(kWide ? codes + 32 : codes + kTileRows * block.code_stride, block.code_stride);
  Tiles::load<6>(block.panels[0].codes + weights, 64);
  Tiles::zero<0>();
  Tiles::multiply<TileProduct::s8_s8, 0, 4, 6>();
  Tiles::store<0>(store_tile(0), 64);
  if (lower) second.template operator()<2, 6>();
  if (block.count == 1) return;
  Tiles::load<7>(block.panels[1].codes + weights, 64);
  Tiles::zero<1>();
  Tiles::multiply<TileProduct::s8_s8, 1, 4, 7>();
  Tiles::store<1>(store_tile(1), 64);
  if (lower) second.template operator()<3, 7>();
}

template <Layout kLayout, bool kWide>
void gemm_codes(const ProductCall& call) {
  using D = Decoder<kLayout>;
  constexpr int64_t kTokens = kWide ? kTileRows : kBlockRows, kBytes = kWide ? 2 : 1;
  constexpr int kDepth = 8 / D::kScales;
  auto* panels = reinterpret_cast<CodePanel*>(call.work);
  const int64_t groups = call.columns / kBlockColumns;
  size_t offset = 0;
  Dots dots;
  for (int64_t first = 0; first < groups; first += 8) {
    const int blocks = int(groups - first < 8 ? groups - first : 8);
    for (int64_t p = 0; p < call.count; ++p) unpack_codes<kLayout>(call.panels[p] + offset, blocks, panels[p]);
    offset += chunk_offsets(kLayout, blocks).size;
    for (int64_t token = 0; token < call.tokens; token += kTokens) {
      const int64_t rest = call.tokens - token, tokens = rest < kTokens ? rest : kTokens;
      const int64_t upper = tokens < kTileRows ? tokens : kTileRows;
      set_shape(*call.tiles, {upper, kWide ? upper : tokens - upper, kDepth});
      const CodeBlock block{.panels = panels,
                            .count = call.count,
                            .codes = static_cast<const std::byte*>(call.activations.values) +
                                     (token * call.columns + first * kBlockColumns) * kBytes,
                            .code_stride = call.columns * kBytes,
                            .scales = call.activations.scales + token * groups + first,
                            .scaled_sums = call.activations.scaled_sums + token * groups + first,
                            .group_stride = groups,
                            .tokens = tokens,
                            .sums = call.sums + token * kSumStride};
      for (int b = 0; b < blocks; ++b) {
        for (int s = 0; s < D::kScales; ++s) {
          const std::byte* codes = block.codes + b * kBlockColumns * kBytes + s * kDepth * 4;
          multiply_codes<kWide>(block, codes, (8 * b + kDepth * s) * 64, dots);
          add_dots<D, kWide>(block, dots, b, s);
        }
      }
    }
  }
}

void gemm(const ProductCall& call) {
  if (!in_tiles(call.form)) return avx512::kLinearTier.gemm(call);
  if (call.form == Form::bf16) {
    return multiply_bf16(call, call.panels[0], call.count == 2 ? call.panels[1] : nullptr, {call.sums, kSumStride, 16});
  }
  for (int64_t t = 0; t < call.tokens; ++t) memset(call.sums + t * kSumStride, 0, size_t(call.count) * 64);
  with_block_layout(call.layout, [&](auto tag) {
    if (call.form == Form::i8) return gemm_codes<decltype(tag)::value, false>(call);
    gemm_codes<decltype(tag)::value, true>(call);
  });
}

void prepare_rows(const PrepareCall& call) {
  avx512::kLinearTier.prepare_rows(call);
}
void finish(const FinishCall& call) {
  avx512::kLinearTier.finish(call);
}

}  // namespace

extern const LinearTier kLinearTier;
const LinearTier kLinearTier = {4,    12,   1,    1,      1,    prepare_rows, prepare_tiles,
                                gemv, gemm, finish, true, kBlockRows, kBlockBytes, release_tiles};

}  // namespace lathe::backend::cpu::LATHE_TIER
