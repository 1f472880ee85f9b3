// Elementwise functions over runs of floats: what programs of lathe.Pointwise and activations are made of.
#pragma once

#include <stdint.h>

namespace lathe::backend::cpu {

// By the names of op/pointwise.h, in their order there where it matters: two operands, then one.
enum class Pointwise : uint8_t {
  add, sub, mul, div, pow, min, max, prelu,
  abs, ceil, cos, erf, exp, floor, hard_swish, log, mish, neg, reciprocal, relu, round, sigmoid, sign, sin, softplus,
  softsign, sqrt, tanh,
  clip, elu, gelu, gelu_tanh, hard_sigmoid, leaky_relu, swish,
  square,  // Pow(x, 2)
  count,
};

// y[i] = f(a[i], b[i]); an operand whose `..._step` is 0 is one number. y may be a or b. p, q: the parameters of
// functions that have some (clip: bounds). Any alignment; noexcept, no allocation.
struct PointwiseCall {
  const float* a;
  int64_t a_step;  // 1 or 0
  const float* b;  // of two operands
  int64_t b_step;
  float p, q;
  int64_t count;
  float* y;
};
using PointwiseFunction = void (*)(const PointwiseCall&);

struct PointwiseTier {
  PointwiseFunction functions[int(Pointwise::count)];
};

namespace avx2 {
extern const PointwiseTier kPointwiseTier;
}
namespace avx512 {
extern const PointwiseTier kPointwiseTier;
}

}  // namespace lathe::backend::cpu
