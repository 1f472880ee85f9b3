// How linear_prefill_blocks multiplies a block of 32 columns: activations as 16-bit floats, or as integers in planes of
// bytes, with codes that are unpacked to the same.
#pragma once

#include "backend/cuda/kernels/block_formats.h"

namespace lathe::backend::cuda {

constexpr int kTileTokens = 64;

// The byte of chunk `chunk` (16 bytes) of a token's row of `row_bytes`, so that eight rows touch all banks.
LATHE_DEVICE int x_place(int token, int chunk, int row_bytes) {
  return token * row_bytes + (chunk ^ (token % 8)) * 16;
}

// Activations as f16 or bf16.
template <bool kBf16>
struct HalfNumbers {
  static constexpr bool kIsInteger = false;
  static constexpr int kBytes = 2;  // of a number, in all planes
  static constexpr int kPlanes = 1;
  static constexpr int kRow = kSpanColumns * 2;  // bytes of a row of a plane

  // What is multiplied with the first block of one group's codes, [e]: of columns 16 e and on.
  struct Fragments {
    uint32_t words[2][2];
  };
  template <class Shape>
  static LATHE_DEVICE Fragments fragments(const LaneCodes<Shape>& codes) {
    Fragments out;
    LATHE_UNROLL
    for (int e = 0; e < 2; ++e) fragment<Shape, kBf16>(codes, 0, e, out.words[e]);
    return out;
  }

  // 16 tokens of block `b`: numbers, and their sums for tokens lane / 4 and 8 + lane / 4.
  struct Tokens {
    uint32_t words[2][4];
    float scales[2], sums[2];
  };
  template <class Shape>
  static LATHE_DEVICE Tokens tokens(const SharedView<uint8_t>&, const SharedView<uint16_t>& stage, int first, int b) {
    Tokens out;
    const uint32_t ones[2] = {kBf16 ? 0x3f803f80u : 0x3c003c00u, kBf16 ? 0x3f803f80u : 0x3c003c00u};
    float sums[4] = {};
    LATHE_UNROLL
    for (int e = 0; e < 2; ++e) {
      const int at = x_place(first + int(lane()) % 16, 4 * b + 2 * e + int(lane()) / 16, kRow);
      load_matrices<4>(stage, at / 2, out.words[e]);
      if (Shape::kHasMinima) multiply_tile<kBf16>(sums, out.words[e], ones);
    }
    out.scales[0] = out.scales[1] = 1;
    out.sums[0] = sums[0];
    out.sums[1] = sums[2];
    return out;
  }

  // The sums of half `e` of a block, or of both halves.
  template <bool kBoth>
  static LATHE_DEVICE void multiply(const Tokens& x, const Fragments& w, int e, float* out) {
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = 0;
    multiply_tile<kBf16>(out, x.words[e], w.words[e]);
    if (kBoth) multiply_tile<kBf16>(out, x.words[1], w.words[1]);
  }
};

// As integers of 8 bits, in one plane or two.
template <int kPlanesOf>
struct CodeNumbers {
  static constexpr bool kIsInteger = true;
  static constexpr int kBytes = kPlanesOf;
  static constexpr int kPlanes = kPlanesOf;
  static constexpr int kRow = kSpanColumns;

  struct Fragments {
    uint32_t words[2];
  };
  template <class Shape>
  static LATHE_DEVICE Fragments fragments(const LaneCodes<Shape>& codes) {
    return {{signed_word(codes, 0, 0), signed_word(codes, 0, 1)}};
  }

  struct Tokens {
    uint32_t words[kPlanesOf][4];
    float scales[2], sums[2];
  };
  template <class Shape>
  static LATHE_DEVICE Tokens tokens(const SharedView<uint8_t>& bytes, const SharedView<uint16_t>& stage, int first,
                                    int b) {
    Tokens out;
    LATHE_UNROLL
    for (int p = 0; p < kPlanes; ++p) {
      const int at = x_place(first + int(lane()) % 16, 2 * b + int(lane()) / 16, kRow);
      load_matrices<4>(stage, (p * kTileTokens * kRow + at) / 2, out.words[p]);
    }
    LATHE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const int token = first + int(lane()) / 4 + 8 * i;
      const WordPair pair = load<WordPair>(bytes, kTileTokens * kSpanColumns * kBytes + (token * kSpanBlocks + b) * 8);
      out.scales[i] = float_of_bits(pair.words[0]);
      out.sums[i] = float_of_bits(pair.words[1]);
    }
    return out;
  }

  template <bool kBoth>
  static LATHE_DEVICE void multiply(const Tokens& x, const Fragments& w, int e, float* out) {
    const uint32_t words[2] = {kBoth || e == 0 ? w.words[0] : 0, kBoth || e == 1 ? w.words[1] : 0};
    int upper[4] = {};
    multiply_codes<false>(upper, x.words[kPlanes - 1], words);
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) out[i] = float(upper[i]);
    if constexpr (kPlanes == 2) {
      int lower[4] = {};
      multiply_codes<true>(lower, x.words[0], words);
      // Both below 2^21: one rounding, that of the exact sum.
      LATHE_UNROLL
      for (int i = 0; i < 4; ++i) out[i] = fma_of(256.0f, out[i], float(lower[i]));
    }
  }
};

}  // namespace lathe::backend::cuda
