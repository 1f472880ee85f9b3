// Block-quantised weights in the order of block_shape.h: what a lane reads of a span, as codes, floats and fragments.
// Memory is global (decode) or shared (prefill); places are bytes.
#pragma once

#include "backend/cuda/block_shape.h"
#include "backend/cuda/kernels/formats.h"

namespace lathe::backend::cuda {

// Where the parts of a span lie in its group, and how many blocks it has.
struct SpanPlace {
  int64_t codes, scales;
  int blocks;
};

template <class Shape>
LATHE_DEVICE int64_t group_bytes(int columns) {
  const int chunks = columns / Shape::kChunkColumns, rest = columns % Shape::kChunkColumns / kBlockColumns;
  return int64_t(chunks) * Shape::kChunkBytes + rest * Shape::kTailBytes;
}

// A span of four blocks.
template <class Shape>
LATHE_DEVICE SpanPlace whole_span(int span) {
  const int64_t chunk = int64_t(span / Shape::kSpans) * Shape::kChunkBytes;
  return {chunk + span % Shape::kSpans * Shape::kSpanBytes, chunk + Shape::kSpans * Shape::kSpanBytes, kSpanBlocks};
}
// Any span: the last one may have fewer.
template <class Shape>
LATHE_DEVICE SpanPlace span_place(int columns, int span) {
  SpanPlace place = whole_span<Shape>(span);
  const int left = columns / kBlockColumns - span * kSpanBlocks;
  if (Shape::kIsSuper || left >= kSpanBlocks) return place;
  place.scales = place.codes + left * (Shape::kCodeBytes + Shape::kHighBytes);
  place.blocks = left;
  return place;
}

// A lane's codes of a span: eight of each block of its row.
template <class Shape>
struct LaneCodes {
  uint32_t low[kSpanBlocks * Shape::kWords];
  uint32_t high[Shape::kHighBits > 0 ? Shape::kHighBits : 1];
};

template <class Shape, class Memory>
LATHE_DEVICE void read_whole_span(const Memory& weights, int64_t codes, LaneCodes<Shape>& out) {
  LATHE_UNROLL
  for (int k = 0; k < Shape::kWords; ++k) {
    const Quad quad = load<Quad>(weights, codes + k * 512 + int(lane()) * 16);
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) out.low[4 * k + i] = quad.words[i];
  }
  const int64_t high = codes + kSpanBlocks * Shape::kCodeBytes;
  if constexpr (Shape::kHighBits == 1) out.high[0] = load<uint32_t>(weights, high + int(lane()) * 4);
  if constexpr (Shape::kHighBits == 2) {
    const WordPair pair = load<WordPair>(weights, high + int(lane()) * 8);
    out.high[0] = pair.words[0];
    out.high[1] = pair.words[1];
  }
}

// Of fewer than four blocks; those that are not there are zeros.
template <class Shape, class Memory>
LATHE_DEVICE void read_last_span(const Memory& weights, const SpanPlace& span, LaneCodes<Shape>& out) {
  out.high[0] = 0;
  LATHE_UNROLL
  for (int b = 0; b < kSpanBlocks; ++b) {
    LATHE_UNROLL
    for (int i = 0; i < Shape::kWords; ++i) {
      const int64_t at = span.codes + b * Shape::kCodeBytes + (int(lane()) * Shape::kWords + i) * 4;
      out.low[b * Shape::kWords + i] = b < span.blocks ? load<uint32_t>(weights, at) : 0;
    }
    if constexpr (Shape::kHighBits == 1) {
      if (b >= span.blocks) continue;
      // Bits 0 to 3, and 4 to 7, to one of each byte: no two of these products meet under the mask.
      const uint32_t bits = load<uint8_t>(weights, span.codes + span.blocks * Shape::kCodeBytes + b * 32 + int(lane()));
      const uint32_t spread = ((bits & 15) * 0x00204081u & 0x01010101u) | ((bits >> 4) * 0x00204081u & 0x01010101u)
                                                                              << 1;
      out.high[0] |= spread << (2 * b);
    }
  }
}

template <class Shape, class Memory>
LATHE_DEVICE LaneCodes<Shape> read_span(const Memory& weights, const SpanPlace& span) {
  LaneCodes<Shape> codes;
  if (Shape::kIsSuper || span.blocks == kSpanBlocks)
    read_whole_span<Shape>(weights, span.codes, codes);
  else
    read_last_span<Shape>(weights, span, codes);
  return codes;
}

// Block b + 1 takes the place of block b: loops over blocks that are not unrolled ask for block 0.
template <class Shape>
LATHE_DEVICE void next_block(LaneCodes<Shape>& codes) {
  LATHE_UNROLL
  for (int i = 0; i + Shape::kWords < kSpanBlocks * Shape::kWords; ++i) codes.low[i] = codes.low[i + Shape::kWords];
  LATHE_UNROLL
  for (int i = 0; i < Shape::kHighBits; ++i) codes.high[i] >>= 2;
}

// The scales of a row's span as they are stored: {d, m} of each block in a word, or k-quants' sixteen bytes and q6_k's
// d.
template <class Shape>
struct StoredScales {
  uint32_t words[Shape::kIsSuper ? 5 : kSpanBlocks];
};

// Of a small format with fewer than four blocks; of those that are not there 0.
template <class Shape, class Memory>
LATHE_DEVICE void read_last_scales(const Memory& weights, int64_t at, int blocks, uint32_t* words) {
  LATHE_UNROLL
  for (int b = 0; b < kSpanBlocks; ++b) {
    words[b] = 0;
    if (b >= blocks) continue;
    words[b] = load<uint16_t>(weights, at + b * Shape::kScaleBytes);
    if (Shape::kHasMinima) words[b] |= uint32_t(load<uint16_t>(weights, at + b * Shape::kScaleBytes + 2)) << 16;
  }
}

template <class Shape, class Memory>
LATHE_DEVICE StoredScales<Shape> read_scales(const Memory& weights, const SpanPlace& span, int row) {
  StoredScales<Shape> out;
  if (!Shape::kIsSuper && span.blocks < kSpanBlocks) {
    read_last_scales<Shape>(weights, span.scales + row * span.blocks * Shape::kScaleBytes, span.blocks, out.words);
  } else if constexpr (Shape::kIsSuper || Shape::kHasMinima) {
    const Quad quad = load<Quad>(weights, span.scales + row * 16);
    LATHE_UNROLL
    for (int i = 0; i < 4; ++i) out.words[i] = quad.words[i];
    if (Shape::kScaleColumns == 16) {
      out.words[4] = load<uint16_t>(weights, span.scales + kGroupRows * 16 + row * 2);
    }
  } else {
    const WordPair pair = load<WordPair>(weights, span.scales + row * 8);
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) out.words[b] = pair.words[b / 2] >> (b % 2 * 16);
  }
  return out;
}

// The same as floats: weight = scale x number + minimum.
template <class Shape>
struct RowScales {
  static constexpr int kCount = kSpanColumns / Shape::kScaleColumns;
  float scale[kCount];  // of each block, or of each half of a block
  float minimum[kSpanBlocks];
};

// `half`: which of a chunk's two spans, of k-quants.
template <class Shape>
LATHE_DEVICE RowScales<Shape> scales_of(const StoredScales<Shape>& stored, int half) {
  RowScales<Shape> out;
  if constexpr (Shape::kScaleColumns == 16) {  // q6_k: sixteen signed bytes
    const float d = f16_of(uint16_t(stored.words[4]));
    LATHE_UNROLL
    for (int i = 0; i < 8; ++i) {
      const uint32_t word = half ? stored.words[2 + i / 4] : stored.words[i / 4];
      out.scale[i] = d * float(int8_t(word >> (8 * (i % 4))));
    }
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) out.minimum[b] = 0;
  } else if constexpr (Shape::kIsSuper) {
    // {d, dmin}, then eight scales and eight minima of 6 bits: four of each at a time, a byte each.
    const float d = f16_of(uint16_t(stored.words[0])), dmin = f16_of(uint16_t(stored.words[0] >> 16));
    const uint32_t first = stored.words[1], second = stored.words[2], third = stored.words[3];
    const uint32_t scale = half ? (third & 0x0f0f0f0fu) | (first >> 2 & 0x30303030u) : first & 0x3f3f3f3fu;
    const uint32_t minimum = half ? (third >> 4 & 0x0f0f0f0fu) | (second >> 2 & 0x30303030u) : second & 0x3f3f3f3fu;
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) {
      out.scale[b] = d * float(scale >> (8 * b) & 255);
      out.minimum[b] = -dmin * float(minimum >> (8 * b) & 255);
    }
  } else {
    LATHE_UNROLL
    for (int b = 0; b < kSpanBlocks; ++b) {
      out.scale[b] = f16_of(uint16_t(stored.words[b]));
      out.minimum[b] = Shape::kHasMinima ? f16_of(uint16_t(stored.words[b] >> 16)) : 0.0f;
    }
  }
  return out;
}

// Four codes of half `e` of block `b`, a byte each: as stored.
template <class Shape>
LATHE_DEVICE uint32_t code_word(const LaneCodes<Shape>& codes, int b, int e) {
  if constexpr (Shape::kBytes) {
    return codes.low[2 * b + e];
  } else {
    uint32_t word = codes.low[b] >> (4 * e) & 0x0f0f0f0fu;
    if constexpr (Shape::kHighBits > 0) {
      const uint32_t mask = Shape::kHighBits == 1 ? 0x10101010u : 0x30303030u;
      const uint32_t high = Shape::kHighBits == 1 ? codes.high[0] : codes.high[e];
      const int at = Shape::kHighBits == 1 ? 2 * b + e : 2 * b;
      word |= (at < 4 ? high << (4 - at) : high >> (at - 4)) & mask;
    }
    return word;
  }
}

// The numbers themselves, as signed bytes.
template <class Shape>
LATHE_DEVICE uint32_t signed_word(const LaneCodes<Shape>& codes, int b, int e) {
  const uint32_t word = code_word(codes, b, e);
  if (Shape::kBytes || Shape::kOffset == 0) return word;
  // No byte carries: codes are below 64. What is below 0x80 becomes negative.
  return (word + (0x80u - uint32_t(Shape::kOffset)) * 0x01010101u) ^ 0x80808080u;
}

// The same as floats: 2^23 + code in one instruction, less 2^23 and the offset.
template <class Shape>
LATHE_DEVICE void float_word(const LaneCodes<Shape>& codes, int b, int e, float* out) {
  uint32_t word = code_word(codes, b, e);
  if (Shape::kBytes) word ^= 0x80808080u;
  LATHE_UNROLL
  for (int i = 0; i < 4; ++i) {
    out[i] = float_of_bits(pick_bytes(word, 0x4b000000u, 0x7650u | uint32_t(i))) - (8388608.0f + float(Shape::kOffset));
  }
}

// The same as the fragment of mma.m16n8k16 for half e of the block: columns 2q, 2q + 1, then 8 + 2q, 9 + 2q. Bytes go
// into the mantissa of 1024 (f16) or 128 (bf16), from which that and the offset are subtracted; all of it is exact.
template <class Shape, bool kBf16>
LATHE_DEVICE void fragment(const LaneCodes<Shape>& codes, int b, int e, uint32_t* out) {
  const uint32_t word = code_word(codes, b, e);
  LATHE_UNROLL
  for (int odd = 0; odd < 2; ++odd) {
    const uint32_t pair = word >> (8 * odd);
    if constexpr (Shape::kBytes && kBf16) {
      // 7 bits of mantissa: 128 + its lower bits, less 128, or 256 where the sign is set.
      out[odd] = subtract_pairs<true>((pair & 0x007f007fu) | 0x43004300u, (pair & 0x00800080u) | 0x43004300u);
    } else if constexpr (Shape::kBytes) {
      out[odd] = subtract_pairs<false>((pair & 0x00ff00ffu) ^ 0x64806480u, 0x64806480u);
    } else {
      const uint32_t one = kBf16 ? 0x43004300u : 0x64006400u;
      out[odd] = subtract_pairs<kBf16>((pair & 0x00ff00ffu) | one, one + uint32_t(Shape::kOffset) * 0x00010001u);
    }
  }
}

}  // namespace lathe::backend::cuda
