// Reductions over a set of axes: types, shapes and the loop.
#pragma once

#include <vector>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {

// The attributes and signature that all Reduce operators share: data, axes? and keepdims,
// noop_with_empty_axes.
OpDef reduce_def(std::string_view name, void (*infer)(InferContext&), void (*evaluate)(EvaluateContext&),
                 int axes_input_since = 18);
// Types and shapes; `allowed` for the data.
void infer_reduce(InferContext& context, DTypeSet allowed);

// Which axes go, and what is left; from the inputs and attributes of a Reduce operator.
struct Reduction {
  bool no_op = false;      // noop_with_empty_axes and no axes: every element is a group of its own
  tensor::Dims out_dims;   // keepdims applied
  tensor::Dims kept_dims;  // of the data, in order
  tensor::Dims kept_strides;
  tensor::Dims reduced_dims;
  tensor::Dims reduced_strides;
  int64_t group() const { return tensor::element_count(std::span(reduced_dims)); }
};
Reduction plan_reduction(const EvaluateContext& context);

// Output 0: every group folded from `start` by fold(total, element), then finish(total, elements in group).
template <class Fold, class Finish>
void evaluate_reduce(EvaluateContext& context, auto start_of, Fold fold, Finish finish) {
  const tensor::Tensor& data = context.inputs[0];
  const Reduction plan = plan_reduction(context);
  context.outputs[0] = with_compute_type(data.dtype(), [&](auto zero) {
    using V = decltype(zero);
    const std::vector<V> values = load<V>(data);
    std::vector<V> totals(size_t(tensor::element_count(std::span(plan.out_dims))));
    Walk kept(plan.kept_dims, plan.kept_strides);
    const int64_t group = plan.group();
    for (V& total : totals) {
      total = V(start_of(zero, data.dtype()));
      Walk reduced(plan.reduced_dims, plan.reduced_strides, kept.next());
      for (int64_t i = 0; i < group; ++i) total = fold(total, values[size_t(reduced.next())]);
      total = finish(total, group);
    }
    return store(data.dtype(), plan.out_dims, totals);
  });
}

// The largest and smallest value of a type, as reductions of nothing give them.
double lowest_value(double, tensor::DType dtype);
int64_t lowest_value(int64_t, tensor::DType dtype);
uint64_t lowest_value(uint64_t, tensor::DType dtype);
double highest_value(double, tensor::DType dtype);
int64_t highest_value(int64_t, tensor::DType dtype);
uint64_t highest_value(uint64_t, tensor::DType dtype);

}  // namespace lathe::op
