// Reductions that look at all elements of a group at once.
#pragma once

#include "op/reduce.h"

namespace lathe::op {

// Output 0: f(elements of the group), computed in double and rounded (or truncated to the integer type) once.
template <class F>
void evaluate_groups(EvaluateContext& context, F f) {
  const tensor::Tensor& data = context.inputs[0];
  const Reduction plan = plan_reduction(context);
  const std::vector<double> values = load<double>(data);
  std::vector<double> results(size_t(tensor::element_count(std::span(plan.out_dims))));
  std::vector<double> group(size_t(plan.group()));
  Walk kept(plan.kept_dims, plan.kept_strides);
  for (double& result : results) {
    Walk reduced(plan.reduced_dims, plan.reduced_strides, kept.next());
    for (double& element : group) element = values[size_t(reduced.next())];
    result = f(std::span<const double>(group));
  }
  context.outputs[0] = store(data.dtype(), plan.out_dims, results);
}

}  // namespace lathe::op
