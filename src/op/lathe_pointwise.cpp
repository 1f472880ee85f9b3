// A run of elementwise operators as one: inputs f32, broadcast against each other; output f32. Attribute `steps` is the
// program (op/pointwise.h), the last step is the result. Each step rounds as its operator does.
#include "op/inference.h"
#include "op/pointwise.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_pointwise(InferContext& context) {
  tensor::Shape shape;
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    shape = tensor::broadcast(shape, require_dtype(context, i, tensor::DType::f32).shape);
  }
  parse_steps(context.attributes.find_strings("steps").value(), int64_t(context.inputs.size()));
  context.outputs[0] = {tensor::DType::f32, std::move(shape), std::nullopt};
}

void evaluate_pointwise(EvaluateContext& context) {
  std::vector<tensor::Tensor> values = context.inputs;
  for (const PointwiseStep& step : parse_steps(*context.attributes.find_strings("steps"), int64_t(values.size()))) {
    values.push_back(evaluate_step(step, values));
  }
  // A step may leave out an input that only makes the result larger.
  std::vector<int64_t> dims;
  for (const tensor::Tensor& input : context.inputs) dims = broadcast_dims(dims, input.dims());
  if (values.back().dims() == dims) {
    context.outputs[0] = values.back();
    return;
  }
  Walk walk(dims, broadcast_strides(values.back().dims(), dims));
  context.outputs[0] = take(values.back(), dims, [&] { return walk.next(); });
}

}  // namespace

const OpDef& lathe_pointwise_op() {
  static const OpDef def{
      .name = "lathe.Pointwise",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .attributes = {{.name = "steps", .kind = AttributeKind::strings, .required = true}},
      .infer = infer_pointwise,
      .evaluate = evaluate_pointwise,
  };
  return def;
}

}  // namespace lathe::op
