// Operators that work element by element: types, broadcasting, and loops over any numeric dtype.
#pragma once

#include <cmath>
#include <vector>

#include "op/inference.h"
#include "op/op.h"
#include "op/values.h"

namespace lathe::op {

// Output 0 is as input 0, whose dtype must be in the set.
void infer_unary(InferContext& context, DTypeSet allowed);
// Output 0 is inputs 0 and 1 broadcast; they have one dtype, from the set.
void infer_binary(InferContext& context, DTypeSet allowed);
// The same with a boolean result.
void infer_compare(InferContext& context, DTypeSet allowed);
// The same for one or more inputs (Min, Max).
void infer_variadic(InferContext& context, DTypeSet allowed);

// result[i] = f(a[i]), computed as with_compute_type says, stored as `dtype`.
template <class F>
tensor::Tensor map(const tensor::Tensor& a, tensor::DType dtype, F f) {
  return with_compute_type(a.dtype(), [&](auto zero) {
    using V = decltype(zero);
    std::vector<V> values = load<V>(a);
    for (V& value : values) value = V(f(value));
    return store(dtype, a.dims(), values);
  });
}

// result[i] = f(a[i], b[i]) with both broadcast; a and b have one dtype.
template <class F>
tensor::Tensor map(const tensor::Tensor& a, const tensor::Tensor& b, tensor::DType dtype, F f) {
  return with_compute_type(a.dtype(), [&](auto zero) {
    using V = decltype(zero);
    const std::vector<V> left = load<V>(a);
    const std::vector<V> right = load<V>(b);
    const tensor::Dims dims = broadcast_dims(a.dims(), b.dims());
    Walk walk_a(dims, broadcast_strides(a.dims(), dims));
    Walk walk_b(dims, broadcast_strides(b.dims(), dims));
    std::vector<V> values(size_t(tensor::element_count(std::span(dims))));
    for (V& value : values) value = V(f(left[size_t(walk_a.next())], right[size_t(walk_b.next())]));
    return store(dtype, dims, values);
  });
}

// Output 0 = f(input 0) on floats, in double, rounded once.
template <class F>
void evaluate_real(EvaluateContext& context, F f) {
  const tensor::Tensor& x = context.inputs[0];
  std::vector<double> values = load<double>(x);
  for (double& value : values) value = f(value);
  context.outputs[0] = store(x.dtype(), x.dims(), values);
}

// Output 0 = f(input 0, input 1), in their dtype.
template <class F>
void evaluate_binary(EvaluateContext& context, F f) {
  context.outputs[0] = map(context.inputs[0], context.inputs[1], context.inputs[0].dtype(), f);
}

// Output 0 = f(input 0, input 1), boolean.
template <class F>
void evaluate_compare(EvaluateContext& context, F f) {
  context.outputs[0] = map(context.inputs[0], context.inputs[1], tensor::DType::boolean, f);
}

// Output 0 = f(... f(input 0, input 1) ..., last), in their dtype.
template <class F>
void evaluate_variadic(EvaluateContext& context, F f) {
  tensor::Tensor result = context.inputs[0];
  for (size_t i = 1; i < context.inputs.size(); ++i)
    result = map(result, context.inputs[i], result.dtype(), f);
  context.outputs[0] = result;
}

// Two's complement arithmetic that wraps instead of overflowing.
struct WrappingAdd {
  double operator()(double a, double b) const { return a + b; }
  uint64_t operator()(uint64_t a, uint64_t b) const { return a + b; }
  int64_t operator()(int64_t a, int64_t b) const { return int64_t(uint64_t(a) + uint64_t(b)); }
};
struct WrappingSubtract {
  double operator()(double a, double b) const { return a - b; }
  uint64_t operator()(uint64_t a, uint64_t b) const { return a - b; }
  int64_t operator()(int64_t a, int64_t b) const { return int64_t(uint64_t(a) - uint64_t(b)); }
};
struct WrappingMultiply {
  double operator()(double a, double b) const { return a * b; }
  uint64_t operator()(uint64_t a, uint64_t b) const { return a * b; }
  int64_t operator()(int64_t a, int64_t b) const { return int64_t(uint64_t(a) * uint64_t(b)); }
};
// The larger or smaller one; a NaN on either side wins.
struct NanMax {
  double operator()(double a, double b) const { return std::isnan(a) || a > b ? a : b; }
  template <class V>
  V operator()(V a, V b) const {
    return a > b ? a : b;
  }
};
struct NanMin {
  double operator()(double a, double b) const { return std::isnan(a) || a < b ? a : b; }
  template <class V>
  V operator()(V a, V b) const {
    return a < b ? a : b;
  }
};

}  // namespace lathe::op
