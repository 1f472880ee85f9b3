// Weights as they are stored, and as floats.
#pragma once

#include "backend/cuda/kernel.h"

namespace lathe::backend::cuda {

struct F32Format {
  using Stored = float;
  static constexpr int kInQuad = 4;  // elements of sixteen bytes
  static LATHE_DEVICE float widen(float stored) { return stored; }
  static LATHE_DEVICE void widen(const Quad& quad, float* out) {
    for (int i = 0; i < 4; ++i) out[i] = float_of_bits(quad.words[i]);
  }
};

struct F16Format {
  using Stored = uint16_t;
  static constexpr int kInQuad = 8;
  static LATHE_DEVICE float widen(uint16_t stored) { return f16_of(stored); }
  static LATHE_DEVICE void widen(const Quad& quad, float* out) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = f16_of(uint16_t(quad.words[i]));
      out[2 * i + 1] = f16_of(uint16_t(quad.words[i] >> 16));
    }
  }
};

struct Bf16Format {
  using Stored = uint16_t;
  static constexpr int kInQuad = 8;
  static LATHE_DEVICE float widen(uint16_t stored) { return bf16_of(stored); }
  static LATHE_DEVICE void widen(const Quad& quad, float* out) {
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = float_of_bits(quad.words[i] << 16);
      out[2 * i + 1] = float_of_bits(quad.words[i] & 0xffff0000u);
    }
  }
};

// How activations are rounded before products.
enum class Rounding : int { none, f16, bf16 };
LATHE_DEVICE float rounded(float x, Rounding rounding) {
  if (rounding == Rounding::f16) return f16_of(to_f16(x));
  if (rounding == Rounding::bf16) return bf16_of(to_bf16(x));
  return x;
}

// Numbered as backend::cpu::Activation.
enum class Function : int { none, silu_gate, gelu_gate, gelu_tanh_gate, gelu, gelu_tanh, silu, relu };
LATHE_DEVICE float apply(Function function, float x) {
  switch (function) {
    case Function::silu_gate:
    case Function::silu:
      return x / (1.0f + exp_fast(-x));
    case Function::gelu_gate:
    case Function::gelu:
      return 0.5f * x * (1.0f + erf_of(x * 0.70710678118654752f));
    case Function::gelu_tanh_gate:
    case Function::gelu_tanh:
      return 0.5f * x * (1.0f + tanh_of(0.79788456080286536f * (x + 0.044715f * x * x * x)));
    case Function::relu:
      return x > 0.0f ? x : 0.0f;
    case Function::none:
      break;
  }
  return x;
}

enum class NormKind : int { none, rms, layer };

}  // namespace lathe::backend::cuda
