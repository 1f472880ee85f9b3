#include <array>
#include <bit>
#include <cstddef>

#include "tensor/block_formats.h"
#include "tensor/block_grids.h"

namespace lathe::tensor::blocks {
namespace {

template <size_t kEntries, size_t kWidth>
using Codebook = std::array<std::array<int8_t, kWidth>, kEntries>;

// Expands packed entries (see block_grids.h) at compile time: element k of an entry is values[index k].
template <size_t kWidth, size_t kEntries, size_t kValues>
constexpr Codebook<kEntries, kWidth> expand(const std::array<uint16_t, kEntries>& packed,
                                            const int8_t (&values)[kValues]) {
  constexpr size_t kBits = 16 / kWidth;
  Codebook<kEntries, kWidth> book{};
  for (size_t entry = 0; entry < kEntries; ++entry) {
    for (size_t k = 0; k < kWidth; ++k) {
      book[entry][k] = values[packed[entry] >> (k * kBits) & ((1u << kBits) - 1)];
    }
  }
  return book;
}

constexpr int8_t kIq2Values[] = {8, 25, 43};
constexpr auto kIq2Xxs = expand<8>(kIq2XxsGrid, kIq2Values);
constexpr auto kIq2Xs = expand<8>(kIq2XsGrid, kIq2Values);
constexpr auto kIq2S = expand<8>(kIq2SGrid, kIq2Values);
constexpr auto kIq3Xxs = expand<4>(kIq3XxsGrid, {4, 12, 20, 28, 36, 44, 52, 62});
constexpr auto kIq3S = expand<4>(kIq3SGrid, {1, 3, 5, 7, 9, 11, 13, 15});
constexpr auto kIq1 = expand<8>(kIq1Grid, {-1, 0, 1});

constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kE2m1Doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Seven stored signs; the eighth makes their number even.
uint8_t even_signs(uint32_t seven_bits) {
  return uint8_t(seven_bits | uint32_t(std::popcount(seven_bits) & 1) << 7);
}

// out[j] = scale * values[j], negated where bit j of signs is set.
template <size_t kWidth>
void write_signed(float scale, const std::array<int8_t, kWidth>& values, unsigned signs, float* out) {
  for (size_t j = 0; j < kWidth; ++j) {
    const float value = scale * float(values[j]);
    out[j] = signs >> j & 1 ? -value : value;
  }
}

// IQ1: out[j] = scale * (values[j] +- 1/8).
void write_shifted(float scale, const std::array<int8_t, 8>& values, bool down, float* out) {
  const float delta = down ? -0.125f : 0.125f;
  for (size_t j = 0; j < 8; ++j) out[j] = scale * (float(values[j]) + delta);
}

// The scale of iq2 groups: d * (1/2 + s) / 4.
float iq2_scale(float d, unsigned s) {
  return d * (0.5f + float(s)) * 0.25f;
}

}  // namespace

// {d; {u8 index[4]; u32 word}[8]}: per 32 elements four codebook entries; word = four 7-bit signs, 4-bit
// scale.
void iq2_xxs(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int group = 0; group < 8; ++group) {
    const uint8_t* index = in + 2 + group * 8;
    const uint32_t word = load_u32(index + 4);
    const float scale = iq2_scale(d, word >> 28);
    for (int k = 0; k < 4; ++k) {
      write_signed(scale, kIq2Xxs[index[k]], even_signs(word >> (7 * k) & 127), out + group * 32 + k * 8);
    }
  }
}

// {d; u16 qs[32]; scales[8]}: per 8 elements a 9-bit index and 7 signs; per 16 a 4-bit scale.
void iq2_xs(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int k = 0; k < 32; ++k) {
    const unsigned word = load_u16(in + 2 + k * 2);
    const float scale = iq2_scale(d, in[66 + k / 4] >> (k / 2 % 2 * 4) & 15u);
    write_signed(scale, kIq2Xs[word & 511], even_signs(word >> 9), out + k * 8);
  }
}

// {d; qs[32]; signs[32]; qh[8]; scales[8]}: per 8 elements a 10-bit index (upper two bits in qh) and 8 signs.
void iq2_s(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int k = 0; k < 32; ++k) {
    const unsigned index = in[2 + k] | (in[66 + k / 4] >> (k % 4 * 2) & 3u) << 8;
    const float scale = iq2_scale(d, in[74 + k / 4] >> (k / 2 % 2 * 4) & 15u);
    write_signed(scale, kIq2S[index], in[34 + k], out + k * 8);
  }
}

// {d; qs[64]; u32 words[8]}: per 4 elements an 8-bit index; per 32 a word as in iq2_xxs.
void iq3_xxs(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int group = 0; group < 8; ++group) {
    const uint32_t word = load_u32(in + 66 + group * 4);
    const float scale = d * (0.5f + float(word >> 28)) * 0.5f;
    for (int k = 0; k < 8; ++k) {
      const unsigned signs = even_signs(word >> (k / 2 * 7) & 127) >> (k % 2 * 4);
      write_signed(scale, kIq3Xxs[in[2 + group * 8 + k]], signs, out + group * 32 + k * 4);
    }
  }
}

// {d; qs[64]; qh[8]; signs[32]; scales[4]}: per 4 elements a 9-bit index (top bit in qh); per 32 a 4-bit
// scale.
void iq3_s(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int k = 0; k < 64; ++k) {
    const unsigned index = in[2 + k] | (in[66 + k / 8] >> (k % 8) & 1u) << 8;
    const int s = in[106 + k / 16] >> (k / 8 % 2 * 4) & 15;
    const unsigned signs = in[74 + k / 2] >> (k % 2 * 4);
    write_signed(d * float(1 + 2 * s), kIq3S[index], signs, out + k * 4);
  }
}

// {d; qs[32]; u16 qh[8]}: per 8 elements an 11-bit index (upper three bits in qh); per 32, in the top nibble
// of qh, a 3-bit scale and the direction of the shift.
void iq1_s(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int k = 0; k < 32; ++k) {
    const unsigned high = load_u16(in + 34 + k / 4 * 2);
    const unsigned index = in[2 + k] | (high >> (k % 4 * 3) & 7) << 8;
    const float scale = d * float(2 * (high >> 12 & 7) + 1);
    write_shifted(scale, kIq1[index], high >> 15, out + k * 8);
  }
}

// {qs[32]; qh[16]; u16 scales[4]}: per 8 elements a nibble of qh with three index bits and the direction; per
// 16 a 3-bit scale; the top nibbles of the four scale words are the binary16 d, lowest first.
void iq1_m(const uint8_t* __restrict in, float* __restrict out) {
  unsigned d_bits = 0;
  for (int word = 0; word < 4; ++word) d_bits |= unsigned(load_u16(in + 48 + word * 2) >> 12) << (word * 4);
  const float d = f16_to_f32(uint16_t(d_bits));
  for (int k = 0; k < 32; ++k) {
    const unsigned high = in[32 + k / 2] >> (k % 2 * 4);
    const unsigned index = in[k] | (high & 7) << 8;
    const unsigned s = load_u16(in + 48 + k / 8 * 2) >> (k / 2 % 4 * 3) & 7u;
    write_shifted(d * float(2 * s + 1), kIq1[index], high >> 3 & 1, out + k * 8);
  }
}

// {d; qs[16]}: nibbles as in q4_0.
void iq4_nl(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(kIq4Values[in[2 + j] & 15]);
    out[j + 16] = d * float(kIq4Values[in[2 + j] >> 4]);
  }
}

// {d; u16 scales_h; scales_l[4]; qs[128]}: per 32 elements a 6-bit scale less 32, and 16 bytes as in iq4_nl.
void iq4_xs(const uint8_t* __restrict in, float* __restrict out) {
  const float d = load_f16(in);
  const unsigned scales_high = load_u16(in + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = in[4 + group / 2] >> (group % 2 * 4) & 15;
    const int high = int(scales_high >> (2 * group) & 3);
    const float scale = d * float((low | high << 4) - 32);
    const uint8_t* qs = in + 8 + group * 16;
    for (int j = 0; j < 16; ++j) {
      out[group * 32 + j] = scale * float(kIq4Values[qs[j] & 15]);
      out[group * 32 + j + 16] = scale * float(kIq4Values[qs[j] >> 4]);
    }
  }
}

// {u8 e; qs[16]}: scale 2^(e - 127), halved because the codebook is doubled; nibbles as in q4_0.
void mxfp4(const uint8_t* __restrict in, float* __restrict out) {
  // 2^(e - 128) as bits; the two smallest are subnormal.
  const uint32_t bits = in[0] < 2 ? 0x00200000u << in[0] : uint32_t(in[0] - 1) << 23;
  const float d = std::bit_cast<float>(bits);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(kE2m1Doubled[in[1 + j] & 15]);
    out[j + 16] = d * float(kE2m1Doubled[in[1 + j] >> 4]);
  }
}

// {u8 d[4]; qs[32]}: per 16 elements a scale in unsigned e4m3 (bias 7; 0x7f stands for 0), halved, and 8
// bytes whose low nibbles are the first 8 elements. The tensor's own f32 scale is a tensor beside it in the
// file.
void nvfp4(const uint8_t* __restrict in, float* __restrict out) {
  for (int group = 0; group < 4; ++group) {
    const unsigned bits = in[group];
    const unsigned exponent = bits >> 3 & 15;
    const float fraction = float(bits & 7);
    // 2^(exponent - 7), a normal number for every exponent.
    const float power = std::bit_cast<float>((exponent + 120) << 23);
    const float magnitude = exponent == 0 ? fraction * 0x1p-9f : (1.0f + fraction / 8.0f) * power;
    const float d = bits == 0x7f ? 0.0f : magnitude * 0.5f;
    const uint8_t* qs = in + 4 + group * 8;
    for (int j = 0; j < 8; ++j) {
      out[group * 16 + j] = d * float(kE2m1Doubled[qs[j] & 15]);
      out[group * 16 + j + 8] = d * float(kE2m1Doubled[qs[j] >> 4]);
    }
  }
}

}  // namespace lathe::tensor::blocks
