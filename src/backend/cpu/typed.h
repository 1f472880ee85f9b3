// Elementwise functions on numbers of any type: arithmetic, comparisons, logic, choice and casts.
#pragma once

#include <stdint.h>

#include "tensor/dtype.h"

namespace lathe::backend::cpu {

enum class TypedOp : uint8_t {
  add, sub, mul, div, mod, fmod, min, max,  // of two numbers of one type
  equal, less, less_or_equal, greater, greater_or_equal,  // to booleans
  bit_and, bit_or, bit_xor,  // also of booleans
  neg, abs, sign, bit_not, logical_not, is_nan, is_inf,  // of one number
  where,                                                 // c ? a : b
};

// y[i] = f(a[i], b[i], c[i]); an operand whose step is 0 is one number. Any alignment.
struct TypedCall {
  const void* a;
  int64_t a_step;
  const void* b;
  int64_t b_step;
  const void* c;  // booleans
  int64_t c_step;
  int64_t count;
  void* y;
  int flags;  // of is_inf: 1: negative ones, 2: positive ones
};
// noexcept, no allocation. False: an integer divided by 0, or a number that this function would round twice.
using TypedFunction = bool (*)(const TypedCall&);

struct TypedTier {
  // nullptr where there is none. Integers wrap, as the reference does.
  TypedFunction (*find)(TypedOp op, tensor::DType dtype);
  TypedFunction (*find_cast)(tensor::DType from, tensor::DType to);
};

namespace avx2 {
extern const TypedTier kTypedTier;
}
namespace avx512 {
extern const TypedTier kTypedTier;
}

}  // namespace lathe::backend::cpu
