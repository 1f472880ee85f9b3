// lathe.Pointwise between bytes: inputs of u8 or i8 are dequantised first, and the result may be quantised, each
// operation rounded as DequantizeLinear, the program's operators and QuantizeLinear round.
//
// Inputs: f32, u8 or i8, broadcast against each other. Attributes: `steps` as lathe.Pointwise has them; `x_scales` and
// `x_zeros`, one for each input (those of f32 ones do not matter); `y_scale` and `y_zero` where `y_dtype` is u8 (2) or
// i8 (3); without it the result is f32.
#include <cmath>

#include "op/inference.h"
#include "op/pointwise.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

bool is_byte(DType dtype) {
  return dtype == DType::u8 || dtype == DType::i8;
}

void infer_q_pointwise(InferContext& context) {
  const size_t count = context.inputs.size();
  const Attributes& attributes = context.attributes;
  tensor::Shape shape;
  for (size_t i = 0; i < count; ++i) {
    const TypeInfo& input = context.input(i);
    if (!is_byte(input.dtype)) require_dtype(context, i, DType::f32);
    shape = tensor::broadcast(shape, input.shape);
  }
  if (attributes.find_floats("x_scales").value().size() != count ||
      attributes.find_ints("x_zeros").value().size() != count) {
    bad(context, "expected a scale and a zero point for each of {} inputs", count);
  }
  const auto dtype = DType(attributes.get_int("y_dtype", int64_t(DType::f32)));
  if (dtype != DType::f32 && !is_byte(dtype)) bad(context, "y_dtype is {}", int(dtype));
  if (is_byte(dtype) && !(attributes.get_float("y_scale", 0) > 0)) bad(context, "y_scale is not positive");
  parse_steps(attributes.find_strings("steps").value(), int64_t(count));
  context.outputs[0] = {dtype, std::move(shape), std::nullopt};
}

void evaluate_q_pointwise(EvaluateContext& context) {
  const auto scales = *context.attributes.find_floats("x_scales");
  const auto zeros = *context.attributes.find_ints("x_zeros");
  std::vector<Tensor> inputs = context.inputs;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!is_byte(inputs[i].dtype())) continue;
    const Tensor zero = store(inputs[i].dtype(), {}, std::vector<int64_t>{zeros[i]});
    inputs[i] = evaluate(get_op("DequantizeLinear"), {inputs[i], Tensor::scalar(float(scales[i])), zero}, {})[0];
  }
  Attributes program;
  program.set("steps", *context.attributes.find_strings("steps"));
  Tensor y = evaluate(get_op("lathe.Pointwise"), std::move(inputs), program)[0];
  const auto dtype = DType(context.attributes.get_int("y_dtype", int64_t(DType::f32)));
  if (is_byte(dtype)) {
    const Tensor zero = store(dtype, {}, std::vector<int64_t>{context.attributes.get_int("y_zero", 0)});
    const Tensor scale = Tensor::scalar(float(context.attributes.get_float("y_scale", 1)));
    y = evaluate(get_op("QuantizeLinear"), {y, scale, zero}, {})[0];
  }
  context.outputs[0] = y;
}

}  // namespace

const OpDef& lathe_q_pointwise_op() {
  static const OpDef def{
      .name = "lathe.QPointwise",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .attributes = {{.name = "steps", .kind = AttributeKind::strings, .required = true},
                     {.name = "x_scales", .kind = AttributeKind::reals, .required = true},
                     {.name = "x_zeros", .kind = AttributeKind::integers, .required = true},
                     {.name = "y_dtype", .kind = AttributeKind::integer},
                     {.name = "y_scale", .kind = AttributeKind::real},
                     {.name = "y_zero", .kind = AttributeKind::integer}},
      .infer = infer_q_pointwise,
      .evaluate = evaluate_q_pointwise,
  };
  return def;
}

}  // namespace lathe::op
