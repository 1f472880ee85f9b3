// (x - zero point) * scale, in the type of the scale or output_dtype.
#include "op/quantization.h"

namespace lathe::op {
namespace {

tensor::DType result_type(const Attributes& attributes, tensor::DType scale) {
  const int64_t dtype = attributes.get_int("output_dtype", 0);
  return dtype == 0 ? scale : tensor::DType(dtype);
}

void infer_dequantize_linear(InferContext& context) {
  const TypeInfo& x = require(context, 0, kInteger | kSmallInt | kSmallFloat);
  const TypeInfo& scale = require(context, 1, kF32 | kF16 | kBf16 | kSmallFloat);
  require_same_dtype(context, 0, 2);
  check_scales(context);
  const int64_t dtype = context.attributes.get_int("output_dtype", 0);
  if (dtype != 0 && dtype != 1 && dtype != 10 && dtype != 16) bad(context, "output_dtype is {}", dtype);
  context.outputs[0] = {result_type(context.attributes, scale.dtype), x.shape, std::nullopt};
  if (!(set_of(context.outputs[0].dtype) & kFloat))
    bad(context, "a scale of {} needs output_dtype", to_string(scale));
}

void evaluate_dequantize_linear(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<double> scales = load<double>(context.inputs[1]);
  std::vector<double> zeros(scales.size(), 0);
  if (context.has_input(2)) zeros = load<double>(context.inputs[2]);
  const ScaleIndex index(context);
  std::vector<double> values = load<double>(x);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = size_t(index(int64_t(i)));
    values[i] = (values[i] - zeros[at]) * scales[at];
  }
  context.outputs[0] = store(result_type(context.attributes, context.inputs[1].dtype()), x.dims(), values);
}

}  // namespace

const OpDef& dequantize_linear_op() {
  static const OpDef def{
      .name = "DequantizeLinear",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"axis", AttributeKind::integer},
                     {"block_size", AttributeKind::integer, false, 21},
                     {"output_dtype", AttributeKind::integer, false, 23}},
      .infer = infer_dequantize_linear,
      .evaluate = evaluate_dequantize_linear,
  };
  return def;
}

}  // namespace lathe::op
