// From packed blocks to codes and scales in registers. For tier files only.
#pragma once

#include "backend/cpu/linear_layout.h"
#include "backend/cpu/simd.h"

namespace lathe::backend::cpu::LATHE_TIER {
namespace {

// A weight is scale * (code - kOffset), or scale * code + minimum, with kOffset = 1 << kOffsetBits.
template <Layout kLayout>
struct Decoder {
  static constexpr bool kEight = kLayout == Layout::q8_0_panel;
  static constexpr bool kSix = kLayout == Layout::q6_k_panel;
  static constexpr bool kSuper45 = kLayout == Layout::q4_k_panel || kLayout == Layout::q5_k_panel;
  static constexpr bool kFive =
      kLayout == Layout::q5_0_panel || kLayout == Layout::q5_1_panel || kLayout == Layout::q5_k_panel;
  static constexpr bool kHasMin = kLayout == Layout::q4_1_panel || kLayout == Layout::q5_1_panel || kSuper45;
  static constexpr int kOffsetBits = kHasMin || kEight ? 0 : kSix ? 5 : kFive ? 4 : 3;
  static constexpr bool kHasOffset = kOffsetBits != 0;
  static constexpr bool kSigned = kEight;       // codes are signed bytes
  static constexpr int kScales = kSix ? 2 : 1;  // for 32 columns

  Decoder(const std::byte* chunk, int blocks_) : words(chunk), blocks(blocks_) {
    const ChunkOffsets offsets = chunk_offsets(kLayout, blocks_);
    halves = reinterpret_cast<const uint16_t*>(chunk + offsets.halves);
    bytes = reinterpret_cast<const uint8_t*>(chunk + offsets.bytes);
  }

  // Codes of columns 4J..4J+3 and 16+4J..16+4J+3 of block b, vector v of the rows.
  template <int J>
  inline __attribute__((always_inline)) void codes(int b, int v, I32& low, I32& high) const {
    if constexpr (kEight) {
      low = word(8 * b + J, v);
      high = word(8 * b + 4 + J, v);
      return;
    }
    const I32 nibbles = splat_i32(0x0f0f0f0f);
    const I32 x = word(4 * b + J, v);
    low = and_bits(x, nibbles);
    high = and_bits(shift_right_16<4>(x), nibbles);
    if constexpr (kFive) {
      const I32 fifth = splat_i32(0x10101010);
      const I32 p = word(4 * blocks + b, v);
      low = merge_bits(shift_left_16<4 - J>(p), fifth, low);
      high = merge_bits(shift_right_16<J>(p), fifth, high);
    }
    if constexpr (kSix) {
      const I32 upper = splat_i32(0x30303030);
      const I32 p = word(4 * blocks + 2 * b, v), q = word(4 * blocks + 2 * b + 1, v);
      low = merge_bits(upper_bits<J>(p), upper, low);
      high = merge_bits(upper_bits<J>(q), upper, high);
    }
  }

  // kScales of them; exact, since fp16 times 6 or 8 bits fits a float.
  inline __attribute__((always_inline)) F32 scale(int b, int half, int v) const {
    const int lane = v * kWidth;
    if constexpr (kSuper45) {
      const I32 low = and_bits(load_u8(bytes + b * 16 + lane), splat_i32(15));
      return mul(load_f16(halves + lane), to_f32(with_upper(low, b, 0, lane)));
    }
    if constexpr (kSix)
      return mul(load_f16(halves + lane), to_f32(load_s8(bytes + (2 * b + half) * 16 + lane)));
    return load_f16(halves + b * 16 + lane);
  }
  inline __attribute__((always_inline)) F32 minimum(int b, int v) const {
    const int lane = v * kWidth;
    if constexpr (kSuper45) {
      const F32 negative = sub(zero(), load_f16(halves + 16 + lane));
      const I32 low = shift_right_32<4>(load_u8(bytes + b * 16 + lane));
      return mul(negative, to_f32(with_upper(low, b, 2, lane)));
    }
    return load_f16(halves + (blocks + b) * 16 + lane);
  }

 private:
  inline __attribute__((always_inline)) I32 word(int w, int v) const {
    return load_i32(words + w * 64 + v * kWidth * 4);
  }
  // Six bits of a sub-scale (bit 0) or minimum (bit 2) of block b, whose low four are given.
  inline __attribute__((always_inline)) I32 with_upper(I32 low, int b, int bit, int lane) const {
    const I32 upper = shift_right_by(load_u8(bytes + (8 + b / 2) * 16 + lane), 4 * (b % 2) + bit);
    return merge_bits(shift_left_32<4>(upper), splat_i32(0x30), low);
  }
  // Bits 2J and 2J + 1 of each byte at 4 and 5.
  template <int J>
  static inline __attribute__((always_inline)) I32 upper_bits(I32 x) {
    if constexpr (J < 2) return shift_left_16<4 - 2 * J>(x);
    return shift_right_16<2 * J - 4>(x);
  }

  const std::byte* words;
  const uint16_t* halves;
  const uint8_t* bytes;
  int blocks;
};

// Bytes 0 and 2, or 1 and 3, of each word of codes as 16-bit numbers.
template <bool kSigned>
inline __attribute__((always_inline)) I32 even_bytes(I32 codes) {
  if constexpr (kSigned) return shift_right_signed_16<8>(shift_left_16<8>(codes));
  return and_bits(codes, splat_i32(0x00ff00ff));
}
template <bool kSigned>
inline __attribute__((always_inline)) I32 odd_bytes(I32 codes) {
  if constexpr (kSigned) return shift_right_signed_16<8>(codes);
  return shift_right_16<8>(codes);
}

// Calls body(Decoder<layout>'s type as a value that is not used) for a block layout.
template <Layout kLayout>
struct LayoutTag {
  static constexpr Layout value = kLayout;
};
template <class Body>
inline void with_block_layout(Layout layout, Body&& body) {
  switch (layout) {
    case Layout::q4_0_panel:
      return body(LayoutTag<Layout::q4_0_panel>{});
    case Layout::q4_1_panel:
      return body(LayoutTag<Layout::q4_1_panel>{});
    case Layout::q5_0_panel:
      return body(LayoutTag<Layout::q5_0_panel>{});
    case Layout::q5_1_panel:
      return body(LayoutTag<Layout::q5_1_panel>{});
    case Layout::q8_0_panel:
      return body(LayoutTag<Layout::q8_0_panel>{});
    case Layout::q4_k_panel:
      return body(LayoutTag<Layout::q4_k_panel>{});
    case Layout::q5_k_panel:
      return body(LayoutTag<Layout::q5_k_panel>{});
    case Layout::q6_k_panel:
      return body(LayoutTag<Layout::q6_k_panel>{});
    default:
      return;
  }
}

// Writes one column group J of block b as floats: out is [column of the block][16 rows].
template <int J, Layout kLayout>
inline void dequantise_group(const Decoder<kLayout>& decoder, int b, int v, const F32* scales, F32 minimum,
                             float* out) {
  using D = Decoder<kLayout>;
  I32 codes[2];
  decoder.template codes<J>(b, v, codes[0], codes[1]);
  for (int half = 0; half < 2; ++half) {
    if constexpr (D::kSigned) codes[half] = xor_bits(codes[half], splat_i32(int32_t(0x80808080)));
    const F32 offset = splat(D::kSigned ? 128.0f : D::kHasOffset ? float(1 << D::kOffsetBits) : 0.0f);
    const I32 byte = splat_i32(255);
    const I32 columns[4] = {and_bits(codes[half], byte), and_bits(shift_right_32<8>(codes[half]), byte),
                            and_bits(shift_right_32<16>(codes[half]), byte), shift_right_32<24>(codes[half])};
    for (int i = 0; i < 4; ++i) {
      const F32 code = sub(to_f32(columns[i]), offset);
      const F32 scale = scales[half < D::kScales ? half : 0];
      const F32 weight = D::kHasMin ? fma(code, scale, minimum) : mul(code, scale);
      store(out + (16 * half + 4 * J + i) * 16 + v * kWidth, weight);
    }
  }
}

// A chunk as floats, exactly what the encoding defines: out is [column][16 rows]. scale * code is exact in a
// float, so that with a minimum one rounding remains, fused or not.
template <Layout kLayout>
inline void dequantise_chunk(const std::byte* chunk, int blocks, float* out) {
  const Decoder<kLayout> decoder(chunk, blocks);
  for (int b = 0; b < blocks; ++b, out += kBlockColumns * 16) {
    for (int v = 0; v < kPanelVectors; ++v) {
      const F32 scales[2] = {decoder.scale(b, 0, v), decoder.scale(b, Decoder<kLayout>::kScales - 1, v)};
      const F32 minimum = Decoder<kLayout>::kHasMin ? decoder.minimum(b, v) : zero();
      dequantise_group<0>(decoder, b, v, scales, minimum, out);
      dequantise_group<1>(decoder, b, v, scales, minimum, out);
      dequantise_group<2>(decoder, b, v, scales, minimum, out);
      dequantise_group<3>(decoder, b, v, scales, minimum, out);
    }
  }
}

}  // namespace
}  // namespace lathe::backend::cpu::LATHE_TIER
