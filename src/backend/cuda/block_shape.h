// How block-quantised weights lie for CUDA's kernels: sizes that packing (layouts.cpp) and kernels share.
//
// Eight rows lie together, a group, since tensor cores take eight at a time. Columns are cut into spans of 128: four
// blocks of 32. Lane 4r + q of a warp holds, of row r, eight codes of each block: those of columns 2q, 2q + 1, 8 + 2q,
// 9 + 2q and 16 further on, as mma.m16n8k16 wants them. Codes of four blocks are sixteen bytes of a lane (twice that
// for 8 bits), which a warp reads at once:
//   4 bits   word b of the quad, block b: byte j has column 2q + {0, 8, 1, 9}[j] in its low half, 16 + that in its high
//   5th bit  a word: bit 2b + e of byte j for half e of block b
//   6 bits   two words, one for each half e: bits 2b and 2b + 1 of byte j
//   8 bits   quads k = 0, 1 of [32 lanes]: words 2 (b % 2) + e of quad b / 2
// A chunk is one span and its scales, of k-quants two spans and theirs, behind one another: codes, upper bits, [span
// 1,] scales [row][block] of fp16 {d} or {d, m}, or the file's sixteen bytes {d, dmin, scales[12]} a row, or q6_k's
// scales[16] of each row and then d of each row. A last span of n < 4 blocks has codes [block][lane] words, fifth bits
// [block][lane] bytes (bit 4e + j), scales as above. Nothing is filled up but the last group, with rows of zeros: a
// group takes as many bytes as its rows in a file.
#pragma once

#include <stdint.h>

namespace lathe::backend::cuda {

constexpr int kGroupRows = 8;
constexpr int kBlockColumns = 32;
constexpr int kSpanBlocks = 4;
constexpr int kSpanColumns = kBlockColumns * kSpanBlocks;

// kOffset: what a code is more than the number it stands for. Codes of 8 bits have a sign instead, which kernels flip.
template <int kCodeBits, int kOffsetOf, bool kMinima, bool kSuper, int kScaleColumnsOf = kBlockColumns>
struct BlockShape {
  static constexpr bool kBytes = kCodeBits == 8;
  static constexpr int kHighBits = kBytes ? 0 : kCodeBits - 4;
  static constexpr int kOffset = kOffsetOf;
  static constexpr bool kHasMinima = kMinima;
  static constexpr bool kIsSuper = kSuper;
  static constexpr int kScaleColumns = kScaleColumnsOf;  // that share a scale: 32 or 16
  static constexpr int kSpans = kSuper ? 2 : 1;          // of a chunk
  static constexpr int kWords = kBytes ? 2 : 1;          // of a lane and a block, without upper bits
  static constexpr int kCodeBytes = 128 * kWords;        // of a group's block
  static constexpr int kHighBytes = 32 * kHighBits;
  static constexpr int kSpanBytes = kSpanBlocks * (kCodeBytes + kHighBytes);
  static constexpr int kScaleBytes = kMinima ? 4 : 2;  // of a row's block, where not super
  // Of a chunk: sixteen bytes a row, and d of q6_k.
  static constexpr int kHeaderBytes =
      kSuper ? kGroupRows * (kScaleColumns == 16 ? 18 : 16) : kGroupRows * kSpanBlocks * kScaleBytes;
  static constexpr int kChunkBytes = kSpans * kSpanBytes + kHeaderBytes;
  static constexpr int kChunkColumns = kSpans * kSpanColumns;
  static constexpr int kTailBytes =
      kCodeBytes + kHighBytes + kGroupRows * kScaleBytes;  // of each block of the last span
};

using Q40Blocks = BlockShape<4, 8, false, false>;
using Q41Blocks = BlockShape<4, 0, true, false>;
using Q50Blocks = BlockShape<5, 16, false, false>;
using Q51Blocks = BlockShape<5, 0, true, false>;
using Q80Blocks = BlockShape<8, 128, false, false>;
using Q4KBlocks = BlockShape<4, 0, true, true>;
using Q5KBlocks = BlockShape<5, 0, true, true>;
using Q6KBlocks = BlockShape<6, 32, false, true, 16>;

}  // namespace lathe::backend::cuda
