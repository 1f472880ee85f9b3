#include "op/quantized_product.h"

#include <cmath>
#include <limits>

#include "op/convolution.h"
#include "op/pointwise.h"
#include "op/quantized_convolution.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

const Tensor& input_of(const EvaluateContext& context, size_t i) {
  static const Tensor none;
  return context.has_input(i) ? context.inputs[i] : none;
}

// Without scale there is nothing but the sums; without floats nothing is added to them.
void check_combination(const InferContext& context) {
  const bool scaled = context.has_input(kQScale), bytes = context.has_input(kQYZero);
  const std::string activation = context.attributes.get_string("activation", "");
  if (!scaled) {
    for (const size_t i : {kQXScale, kQResidual, kQYZero}) {
      if (context.has_input(i)) bad(context, "input {} without a scale", i);
    }
    if (!activation.empty()) bad(context, "an activation without a scale");
    if (context.has_input(kQBias)) require_dtype(context, kQBias, DType::i32);
  }
  if (bytes) {
    require_bytes(context, kQYZero);
    if (context.has_input(kQResidual)) {
      require_bytes(context, kQResidual);
      quantized_clamp(quantized_sum(context.attributes).activation);
    }
    quantized_clamp(activation);
  } else {
    if (context.has_input(kQResidual)) require_dtype(context, kQResidual, DType::f32);
    if (!activation.empty()) parse_step(activation, 1);
  }
}

}  // namespace

QuantizedClamp quantized_clamp(std::string_view activation) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (activation.empty()) return {-kInfinity, kInfinity};
  const PointwiseStep step = parse_step(activation, 1);
  if (step.op == "Relu") return {0, kInfinity};
  if (step.op != "Clip")
    fail(ErrorCode::invalid_input, "activation \"{}\" of bytes: expected Relu or Clip", activation);
  return {float(step.arguments[1].number), float(step.arguments[2].number)};
}

QuantizedSum quantized_sum(const Attributes& attributes) {
  return {.middle_low = float(attributes.get_int("middle_low", -255)),
          .middle_high = float(attributes.get_int("middle_high", 255)),
          .middle_scale = float(attributes.get_float("middle_scale", 1)),
          .residual_zero = float(attributes.get_int("residual_zero", 0)),
          .residual_scale = float(attributes.get_float("residual_scale", 1)),
          .activation = attributes.get_string("sum_activation", "")};
}

std::vector<AttributeSpec> quantized_attributes() {
  return {{"activation", AttributeKind::string},     {"middle_high", AttributeKind::integer},
          {"middle_low", AttributeKind::integer},    {"middle_scale", AttributeKind::real},
          {"residual_last", AttributeKind::integer}, {"residual_scale", AttributeKind::real},
          {"residual_zero", AttributeKind::integer}, {"sum_activation", AttributeKind::string}};
}

TypeInfo infer_quantized_product(const InferContext& context, tensor::Shape shape, const tensor::Dim& features) {
  require_bytes(context, kQX);
  require_bytes(context, kQWeights);
  require_same_dtype(context, kQX, kQXZero);
  require_same_dtype(context, kQWeights, kQWZero);
  for (const size_t i : {kQXZero, kQXScale, kQYZero}) require_single(context, i);
  for (const size_t i : {kQWZero, kQScale}) require_single_or_vector(context, i, features);
  for (const size_t i : {kQScale, kQXScale}) {
    if (context.has_input(i)) require_dtype(context, i, DType::f32);
  }
  require_vector(context, kQBias, features);
  if (context.has_input(kQBias) && context.input(kQBias).dtype != DType::i32)
    require_dtype(context, kQBias, DType::f32);
  check_combination(context);
  if (context.has_input(kQResidual)) {
    const tensor::Shape& residual = context.input(kQResidual).shape;
    if (residual.size() != shape.size()) bad(context, "a residual of rank {}, not {}", residual.size(), shape.size());
    for (size_t i = 0; i < shape.size(); ++i) require_dims_agree(context, "residual", shape[i], residual[i]);
  }
  const DType dtype = !context.has_input(kQScale)  ? DType::i32
                      : context.has_input(kQYZero) ? context.input(kQYZero).dtype
                                                   : DType::f32;
  return {dtype, std::move(shape), std::nullopt};
}

std::vector<int64_t> load_quantized_weights(const EvaluateContext& context) {
  return load_less_zero(context.inputs[kQWeights], input_of(context, kQWZero));
}

std::vector<int64_t> load_quantized_x(const EvaluateContext& context) {
  return load_less_zero(context.inputs[kQX], input_of(context, kQXZero));
}

namespace {

// v of the header's formula for each sum, in f32.
std::vector<float> scale_sums(const EvaluateContext& context, const std::vector<int32_t>& sums, int64_t features,
                              int64_t inner) {
  std::vector<double> scales = load<double>(context.inputs[kQScale]);
  scales.resize(size_t(features), scales.empty() ? 0 : scales[0]);
  if (context.has_input(kQXScale)) {
    const float x_scale = float(load_double(context.inputs[kQXScale]));
    for (double& scale : scales) scale = double(x_scale * float(scale));
  }
  const bool real_bias = context.has_input(kQBias) && context.inputs[kQBias].dtype() == DType::f32;
  const std::vector<double> bias = real_bias ? load<double>(context.inputs[kQBias]) : std::vector<double>{};
  std::vector<float> v(sums.size());
  for (size_t i = 0; i < v.size(); ++i) {
    const size_t feature = i / size_t(inner) % size_t(features);
    v[i] = float(sums[i]) * float(scales[feature]);
    if (real_bias) v[i] = v[i] + float(bias[feature]);
  }
  return v;
}

// To the nearest within [low, high]; low for NaN.
float round_within(float v, float low, float high) {
  const float above = v > low ? v : low;
  return std::nearbyint(above < high ? above : high);
}

Tensor to_bytes(const EvaluateContext& context, const std::vector<float>& v, const tensor::Dims& dims) {
  const Tensor& zero_point = context.inputs[kQYZero];
  const QuantizedClamp clamp = quantized_clamp(context.attributes.get_string("activation", ""));
  const float zero = float(load_double(zero_point));
  const float lowest = (zero_point.dtype() == DType::i8 ? -128.0f : 0.0f) - zero, highest = lowest + 255.0f;
  std::vector<int64_t> y(v.size());
  if (context.has_input(kQResidual)) {
    const QuantizedSum sum = quantized_sum(context.attributes);
    const QuantizedClamp last = quantized_clamp(sum.activation);
    const std::vector<double> residual = load<double>(context.inputs[kQResidual]);
    for (size_t i = 0; i < y.size(); ++i) {
      const float m = round_within(v[i], std::max(clamp.low, sum.middle_low), std::min(clamp.high, sum.middle_high));
      const float both = m * sum.middle_scale + (float(residual[i]) - sum.residual_zero) * sum.residual_scale;
      y[i] = int64_t(round_within(both, std::max(last.low, lowest), std::min(last.high, highest)) + zero);
    }
  } else {
    for (size_t i = 0; i < y.size(); ++i) {
      y[i] = int64_t(round_within(v[i], std::max(clamp.low, lowest), std::min(clamp.high, highest)) + zero);
    }
  }
  return store(zero_point.dtype(), dims, y);
}

}  // namespace

Tensor finish_quantized_product(const EvaluateContext& context, const std::vector<int64_t>& sums,
                                const tensor::Dims& dims, int64_t features, int64_t inner) {
  std::vector<int32_t> wrapped(sums.size());
  const bool has_bias = context.has_input(kQBias) && context.inputs[kQBias].dtype() == DType::i32;
  const std::vector<int64_t> bias = has_bias ? load<int64_t>(context.inputs[kQBias]) : std::vector<int64_t>{};
  for (size_t i = 0; i < sums.size(); ++i) {
    const uint64_t more = has_bias ? uint64_t(bias[i / size_t(inner) % size_t(features)]) : 0;
    wrapped[i] = int32_t(uint32_t(uint64_t(sums[i]) + more));
  }
  if (!context.has_input(kQScale)) return store(DType::i32, dims, std::vector<int64_t>(wrapped.begin(), wrapped.end()));
  const std::vector<float> v = scale_sums(context, wrapped, features, inner);
  if (context.has_input(kQYZero)) return to_bytes(context, v, dims);
  Tensor y = store(DType::f32, dims, std::vector<double>(v.begin(), v.end()));
  const auto add_residual = [&] { y = evaluate(get_op("Add"), {y, context.inputs[kQResidual]}, {})[0]; };
  const bool residual_last = context.attributes.get_int("residual_last", 0) != 0;
  if (context.has_input(kQResidual) && !residual_last) add_residual();
  const std::string activation = context.attributes.get_string("activation", "");
  if (!activation.empty()) y = evaluate_step(parse_step(activation, 1), {y});
  if (context.has_input(kQResidual) && residual_last) add_residual();
  return y;
}

}  // namespace lathe::op
