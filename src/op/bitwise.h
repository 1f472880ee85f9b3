// Loops over the bits of integers.
#pragma once

#include "op/elementwise.h"

namespace lathe::op {

// Output 0 = f(input 0, input 1) on their bits, broadcast. Signed elements come sign-extended to 64 bits; what
// comes back is cut to the width of the type.
template <class F>
void evaluate_bits(EvaluateContext& context, F f) {
  const tensor::Tensor& a = context.inputs[0];
  const tensor::Tensor& b = context.inputs[1];
  const std::vector<uint64_t> left = load<uint64_t>(a);
  const std::vector<uint64_t> right = load<uint64_t>(b);
  const tensor::Dims dims = broadcast_dims(a.dims(), b.dims());
  Walk walk_a(dims, broadcast_strides(a.dims(), dims));
  Walk walk_b(dims, broadcast_strides(b.dims(), dims));
  std::vector<uint64_t> values(size_t(tensor::element_count(std::span(dims))));
  for (uint64_t& value : values) value = f(left[size_t(walk_a.next())], right[size_t(walk_b.next())]);
  context.outputs[0] = store(a.dtype(), dims, values);
}

}  // namespace lathe::op
