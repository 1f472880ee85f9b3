#include "op/variadic_sum.h"

#include "op/values.h"

namespace lathe::op {

void evaluate_sum(EvaluateContext& context, double divisor) {
  tensor::Dims dims = context.inputs[0].dims();
  for (const tensor::Tensor& input : context.inputs) dims = broadcast_dims(dims, input.dims());
  std::vector<double> sums(size_t(tensor::element_count(std::span(dims))), -0.0);  // so that -0 alone stays -0
  for (const tensor::Tensor& input : context.inputs) {
    const std::vector<double> values = load<double>(input);
    Walk walk(dims, broadcast_strides(input.dims(), dims));
    for (double& sum : sums) sum += values[size_t(walk.next())];
  }
  for (double& sum : sums) sum /= divisor;
  context.outputs[0] = store(context.inputs[0].dtype(), dims, sums);
}

}  // namespace lathe::op
