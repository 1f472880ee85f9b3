// Integer products, bytes and rounding of single operations, emulated: the part of intrinsics.h for block-quantised
// weights and sampling.
#pragma once

#include "backend/cuda/emulation/intrinsics.h"

namespace lathe::backend::cuda {

namespace emulated {

struct CodeParts {
  uint32_t a[4], b[2];
  int32_t sum[4];
};

// PTX ISA, mma.m16n8k32 with integers of 8 bits, those of b with a sign.
template <bool kUnsignedA>
void resolve_codes(std::array<Deposit*, kWarp>& lanes) {
  int32_t a[16][32], b[32][8], sum[16][8];
  for (unsigned l = 0; l < kWarp; ++l) {
    const CodeParts parts = brought<CodeParts>(*lanes[l]);
    const unsigned group = l / 4, first = 4 * (l % 4);
    for (unsigned i = 0; i < 16; ++i) {
      const uint8_t byte = uint8_t(parts.a[i / 4] >> (8 * (i % 4)));
      a[group + i / 4 % 2 * 8][i / 8 * 16 + first + i % 4] = kUnsignedA ? int32_t(byte) : int32_t(int8_t(byte));
    }
    for (unsigned i = 0; i < 8; ++i) b[i / 4 * 16 + first + i % 4][group] = int8_t(parts.b[i / 4] >> (8 * (i % 4)));
    for (unsigned i = 0; i < 4; ++i) sum[group + i / 2 * 8][2 * (l % 4) + i % 2] = parts.sum[i];
  }
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned column = 0; column < 8; ++column) {
      for (unsigned k = 0; k < 32; ++k) sum[row][column] += a[row][k] * b[k][column];
    }
  }
  for (unsigned l = 0; l < kWarp; ++l) {
    std::array<int32_t, 4> own;
    for (unsigned i = 0; i < 4; ++i) own[i] = sum[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2];
    give(*lanes[l], own);
  }
}

}  // namespace emulated

// sum[16][8] += a[16][32] b[32][8] of codes of 8 bits, spread over the warp as mma.sync does.
template <bool kUnsignedA>
void multiply_codes(int* sum, const uint32_t* a, const uint32_t* b) {
  emulated::CodeParts parts;
  std::copy(a, a + 4, parts.a);
  std::copy(b, b + 2, parts.b);
  std::copy(sum, sum + 4, parts.sum);
  const auto result = emulated::taken<std::array<int32_t, 4>>(emulated::warp_collective(
      "mma.sync", kAllLanes, emulated::deposit_of(parts), emulated::resolve_codes<kUnsignedA>));
  std::copy(result.begin(), result.end(), sum);
}

// Byte i of the result is byte (selector >> 4 i) & 7 of b:a.
inline uint32_t pick_bytes(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t both = uint64_t(b) << 32 | a;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) result |= uint32_t(both >> (8 * (selector >> (4 * i) & 7)) & 255) << (8 * i);
  return result;
}
// The products of four pairs of signed bytes, added to sum.
inline int dot_bytes(uint32_t a, uint32_t b, int sum) {
  for (int i = 0; i < 4; ++i) sum += int(int8_t(a >> (8 * i))) * int(int8_t(b >> (8 * i)));
  return sum;
}
// The products of four signed 16-bit numbers, two in each word, with four signed bytes, added to sum.
inline int dot_halves(uint32_t low, uint32_t high, uint32_t bytes, int sum) {
  for (int i = 0; i < 4; ++i) {
    sum += int(int16_t((i < 2 ? low : high) >> (16 * (i % 2)))) * int(int8_t(bytes >> (8 * i)));
  }
  return sum;
}
// a - b of two 16-bit floats in each word.
template <bool kBf16>
uint32_t subtract_pairs(uint32_t a, uint32_t b) {
  const auto widen = kBf16 ? bf16_to_f32 : f16_to_f32;
  const auto narrow = kBf16 ? f32_to_bf16 : f32_to_f16;
  uint32_t result = 0;
  for (int i = 0; i < 32; i += 16) {
    result |= uint32_t(narrow(widen(uint16_t(a >> i)) - widen(uint16_t(b >> i)))) << i;
  }
  return result;
}
inline int nearest_int(float x) {
  return std::isnan(x) ? 0 : int(std::nearbyint(std::clamp(x, -2147483648.0f, 2147483520.0f)));
}
// Rounded by themselves, whatever compilers would make of a multiplication and an addition.
inline float product_of(float a, float b) {
  return a * b;
}
inline float sum_of(float a, float b) {
  return a + b;
}
inline uint32_t bits_of_float(float x) {
  return std::bit_cast<uint32_t>(x);
}

}  // namespace lathe::backend::cuda
