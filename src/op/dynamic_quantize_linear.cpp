// f32 to u8 with the scale and zero point that the range of the values, 0 included, asks for. In f32 throughout,
// as the operator is defined. A tensor of zeros, or an empty one, has scale 1: 0 would divide by itself.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

void infer_dynamic_quantize_linear(InferContext& context) {
  const TypeInfo& x = require_dtype(context, 0, DType::f32);
  context.outputs[0] = {DType::u8, x.shape, std::nullopt};
  context.outputs[1] = {DType::f32, {}, std::nullopt};
  context.outputs[2] = {DType::u8, {}, std::nullopt};
}

uint8_t saturate(float value) {
  return std::isnan(value) ? uint8_t(0) : uint8_t(std::clamp(value, 0.0f, 255.0f));
}

void evaluate_dynamic_quantize_linear(EvaluateContext& context) {
  const Tensor& x = context.inputs[0];
  const auto values = x.data<float>();
  float lowest = 0, highest = 0;
  for (const float value : values) {
    lowest = std::min(lowest, value);
    highest = std::max(highest, value);
  }
  const float scale = highest == lowest ? 1.0f : (highest - lowest) / 255.0f;
  const float zero = std::nearbyint(float(std::clamp(-lowest / scale, 0.0f, 255.0f)));
  Tensor y(DType::u8, x.dims());
  const auto out = y.data<uint8_t>();
  for (size_t i = 0; i < values.size(); ++i) out[i] = saturate(std::nearbyint(values[i] / scale) + zero);
  context.outputs[0] = std::move(y);
  context.outputs[1] = Tensor::scalar(scale);
  context.outputs[2] = Tensor::scalar(saturate(zero));
}

}  // namespace

const OpDef& dynamic_quantize_linear_op() {
  static const OpDef def{
      .name = "DynamicQuantizeLinear",
      .min_inputs = 1,
      .max_inputs = 1,
      .min_outputs = 3,
      .max_outputs = 3,
      .infer = infer_dynamic_quantize_linear,
      .evaluate = evaluate_dynamic_quantize_linear,
  };
  return def;
}

}  // namespace lathe::op
