// round(x / scale) + zero point, saturated: integers to nearest even, or an 8-bit or 4-bit float.
#include <algorithm>
#include <cmath>

#include "op/casting.h"
#include "op/quantization.h"

namespace lathe::op {
namespace {

using tensor::DType;

// The zero point's type, else output_dtype, else u8.
DType result_type(const Attributes& attributes, DType zero_point) {
  if (zero_point != DType::undefined) return zero_point;
  const int64_t dtype = attributes.get_int("output_dtype", 0);
  return dtype == 0 ? DType::u8 : DType(dtype);
}

void infer_quantize_linear(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat | kSigned);
  require(context, 1, kFloat | kSigned | kSmallFloat);
  if (context.has_input(2)) require(context, 2, kInteger | kSmallInt | kSmallFloat);
  check_scales(context);
  const int64_t asked = context.attributes.get_int("output_dtype", 0);
  const DType zero_point = context.has_input(2) ? context.input(2).dtype : DType::undefined;
  if (asked < 0 || asked > int64_t(DType::i2)) bad(context, "output_dtype is {}", asked);
  if (asked != 0 && zero_point != DType::undefined && DType(asked) != zero_point) {
    bad(context, "output_dtype is {}, the zero point is {}", asked, tensor::to_string(zero_point));
  }
  const DType dtype = result_type(context.attributes, zero_point);
  if (!(set_of(dtype) & (kInteger | kSmallInt | kSmallFloat)))
    bad(context, "cannot quantise to {}", tensor::to_string(dtype));
  const int64_t precision = context.attributes.get_int("precision", 0);
  if (precision != 0 && precision != 1 && precision != 10 && precision != 11 && precision != 16) {
    bad(context, "precision is {}", precision);
  }
  context.outputs[0] = {dtype, x.shape, std::nullopt};
}

// [lowest, highest] of an integer type of up to 16 bits.
std::pair<double, double> limits(DType dtype) {
  const double span = std::ldexp(1.0, tensor::bits(dtype));
  const bool is_signed =
      dtype == DType::i8 || dtype == DType::i16 || dtype == DType::i4 || dtype == DType::i2;
  return is_signed ? std::pair(-span / 2, span / 2 - 1) : std::pair(0.0, span - 1);
}

// The type the quotient is rounded to: `precision`, else that of the scale (f32 for other than floats).
DType quotient_type(const EvaluateContext& context) {
  const int64_t precision = context.attributes.get_int("precision", 0);
  if (precision != 0) return DType(precision);
  const DType scale = context.inputs[1].dtype();
  return tensor::is_float(scale) && tensor::bits(scale) >= 16 ? scale : DType::f32;
}

void evaluate_quantize_linear(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const std::vector<double> scales = load<double>(context.inputs[1]);
  const bool has_zero = context.has_input(2);
  const DType dtype =
      result_type(context.attributes, has_zero ? context.inputs[2].dtype() : DType::undefined);
  std::vector<double> zeros(scales.size(), 0);
  if (has_zero) zeros = load<double>(context.inputs[2]);
  const ScaleIndex index(context);
  std::vector<double> values = load<double>(x);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = size_t(index(int64_t(i)));
    values[i] /= scales[at];
    // 8-bit floats have no zero point but 0, which changes nothing, the sign of -0 included.
    if (dtype == DType::f4e2m1) values[i] += zeros[at];
  }
  tensor::Tensor quotient = store(quotient_type(context), x.dims(), values);
  if (tensor::is_float(dtype)) {
    context.outputs[0] = cast_elements(quotient, dtype, context.attributes);
    return;
  }
  values = load<double>(quotient);
  const auto [lowest, highest] = limits(dtype);
  for (size_t i = 0; i < values.size(); ++i) {
    const double shifted = std::nearbyint(values[i]) + zeros[size_t(index(int64_t(i)))];
    values[i] = std::isnan(shifted) ? 0 : std::clamp(shifted, lowest, highest);
  }
  context.outputs[0] = store(dtype, x.dims(), values);
}

}  // namespace

const OpDef& quantize_linear_op() {
  static const OpDef def{
      .name = "QuantizeLinear",
      .min_inputs = 2,
      .max_inputs = 3,
      .attributes = {{"axis", AttributeKind::integer},
                     {"block_size", AttributeKind::integer, false, 21},
                     {"output_dtype", AttributeKind::integer, false, 21},
                     {"precision", AttributeKind::integer, false, 23},
                     {"saturate", AttributeKind::integer, false, 19}},
      .infer = infer_quantize_linear,
      .evaluate = evaluate_quantize_linear,
  };
  return def;
}

}  // namespace lathe::op
