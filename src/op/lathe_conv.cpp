// A convolution with what follows it: activation(Conv(x, w) + bias + residual), or with `residual_last` = 1
// activation(Conv(x, w) + bias) + residual.
//
// Inputs: x f32 [N, C, spatial...], w f32 [M, C / group, kernel...], bias? f32 [M], residual? f32 as the output.
// Attributes: those of Conv; `activation`: a step of one value (op/pointwise.h): "Relu 0", "Clip 0 #0 #6"; `compute`
// and `weights`: what x and w are rounded to before they are multiplied ("bf16", "f16"; else "f32"). Sums are in f32.
#include <algorithm>
#include <iterator>

#include "op/convolution.h"
#include "op/pointwise.h"
#include "op/rounded.h"
#include "op/values.h"

namespace lathe::op {
namespace {

constexpr size_t kBias = 2, kResidual = 3;
constexpr std::string_view kRoundings[] = {"compute", "weights"};
constexpr std::string_view kOwn[] = {"activation", "residual_last", kRoundings[0], kRoundings[1]};  // not those of Conv

void infer_lathe_conv(InferContext& context) {
  require_dtype(context, 0, tensor::DType::f32);
  require_same_dtype(context, 0, 1);
  require_same_dtype(context, 0, kBias);
  require_same_dtype(context, 0, kResidual);
  tensor::Shape shape = infer_convolution(context, 1);
  require_vector(context, kBias, shape[1]);
  if (context.has_input(kResidual)) {
    const tensor::Shape& residual = context.input(kResidual).shape;
    if (residual.size() != shape.size()) bad(context, "a residual of rank {}, not {}", residual.size(), shape.size());
    for (size_t i = 0; i < shape.size(); ++i) require_dims_agree(context, "residual", shape[i], residual[i]);
  }
  if (const auto activation = context.attributes.find_string("activation")) parse_step(*activation, 1);
  for (const std::string_view attribute : kRoundings) check_rounding(context, attribute);
  context.outputs[0] = {tensor::DType::f32, std::move(shape), std::nullopt};
}

void evaluate_lathe_conv(EvaluateContext& context) {
  Attributes conv;
  for (const auto& [name, value] : context.attributes) {
    if (std::find(std::begin(kOwn), std::end(kOwn), name) == std::end(kOwn)) conv.set(name, value);
  }
  std::vector<tensor::Tensor> inputs;
  for (size_t i = 0; i < 2; ++i) {
    inputs.push_back(rounded_to(context.attributes.get_string(kRoundings[i], "f32"), context.inputs[i]));
  }
  if (context.has_input(kBias)) inputs.push_back(context.inputs[kBias]);
  tensor::Tensor y = evaluate(get_op("Conv"), inputs, conv)[0];
  const auto add_residual = [&] { y = evaluate(get_op("Add"), {y, context.inputs[kResidual]}, {})[0]; };
  const bool residual_last = context.attributes.get_int("residual_last", 0) != 0;
  if (context.has_input(kResidual) && !residual_last) add_residual();
  if (const auto activation = context.attributes.find_string("activation")) {
    y = evaluate_step(parse_step(*activation, 1), {y});
  }
  if (context.has_input(kResidual) && residual_last) add_residual();
  context.outputs[0] = y;
}

}  // namespace

const OpDef& lathe_conv_op() {
  static const OpDef def{
      .name = "lathe.Conv",
      .min_inputs = 2,
      .max_inputs = 4,
      .attributes = {{"activation", AttributeKind::string},
                     {"auto_pad", AttributeKind::string},
                     {"compute", AttributeKind::string},
                     {"dilations", AttributeKind::integers},
                     {"group", AttributeKind::integer},
                     {"kernel_shape", AttributeKind::integers},
                     {"pads", AttributeKind::integers},
                     {"residual_last", AttributeKind::integer},
                     {"strides", AttributeKind::integers},
                     {"weights", AttributeKind::string}},
      .infer = infer_lathe_conv,
      .evaluate = evaluate_lathe_conv,
  };
  return def;
}

}  // namespace lathe::op
