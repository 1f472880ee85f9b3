// Activations for linear_prefill and linear_prefill_blocks: normalised and rounded once for all tiles that read them.
//
// f16 and bf16: [tokens][columns]. Integers: [planes][tokens][columns] bytes, of 16 bits the lower ones (without a
// sign) and then the upper ones, and {scale, sum} of each block of 32 columns in `blocks`. Within a block column 16 e +
// 2q
// + {0, 8, 1, 9}[j] lies at 16 e + 4q + j: in the order of weights' codes, so that both meet in a tensor core's
// product.
#pragma once

#include "backend/cuda/kernels/activations.h"

namespace lathe::backend::cuda {

struct RoundActivations {
  Global<const float> x;  // [tokens][columns]
  int tokens;
  int columns;  // for integers a multiple of kBlockColumns
  NormOf norm;
  Rounding rounding;     // of floats: f16 or bf16
  Global<uint8_t> out;   // bytes
  Global<float> blocks;  // [tokens][columns / 32][2], of integers
};

struct Halves {
  static LATHE_DEVICE void put(const RoundActivations& call, int token, const Moments& moments) {
    for (int c = int(thread()); c < call.columns; c += kDecodeThreads) {
      const int64_t at = int64_t(token) * call.columns + c;
      const float value = normalised(call.x[at], c, moments, call.norm);
      store<uint16_t>(call.out, at * 2, call.rounding == Rounding::bf16 ? to_bf16(value) : to_f16(value));
    }
  }
};

template <int kBits>
struct Integers {
  static LATHE_DEVICE void put(const RoundActivations& call, int token, const Moments& moments) {
    const int blocks = call.columns / kBlockColumns;
    for (int b = int(warp()); b < blocks; b += kDecodeThreads / 32) {
      const int column = b * kBlockColumns + int(lane());
      const int64_t at = int64_t(token) * call.columns;
      const Rounded rounded =
          round_block<(1 << (kBits - 1)) - 1>(normalised(call.x[at + column], column, moments, call.norm));
      const ColumnPlace place = column_place(int(lane()));
      const int64_t to = at + b * kBlockColumns + place.half * 16 + place.quarter * 4 + place.byte;
      call.out[to] = uint8_t(rounded.code);
      if (kBits == 16) call.out[int64_t(call.tokens) * call.columns + to] = uint8_t(rounded.code >> 8);
      if (lane() != 0) continue;
      const int64_t block = (int64_t(token) * blocks + b) * 2;
      call.blocks[block] = rounded.scale;
      call.blocks[block + 1] = rounded.sum;
    }
  }
};

// A block for each token.
template <class Numbers>
LATHE_KERNEL void round_activations(RoundActivations call) {
  LATHE_SHARED(float, scratch, kDecodeThreads / 32);
  const int token = int(block_x());
  const Global<const float> x = call.x + int64_t(token) * call.columns;
  const Moments moments = moments_of(x, call.columns, call.norm.kind, call.norm.epsilon, scratch);
  Numbers::put(call, token, moments);
}

}  // namespace lathe::backend::cuda
