// x / sqrt(mean of x^2 + epsilon) * scale over the axes from `axis` on; the result has the type of scale.
// The quotient is rounded to x's type before the product with scale, as the definition's function body does.
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_rms_normalization(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const TypeInfo& scale = require(context, 1, kFloat);
  axis_index(context, context.attributes.get_int("axis", -1), x.shape.size());
  const tensor::Shape sum =
      with_context("RMSNormalization", [&] { return tensor::broadcast(x.shape, scale.shape); });
  if (sum.size() != x.shape.size()) bad(context, "scale {} has a higher rank than x", to_string(scale));
  for (size_t i = 0; i < sum.size(); ++i) require_dims_agree(context, "scale", sum[i], x.shape[i]);
  context.outputs[0] = {scale.dtype, x.shape, std::nullopt};
}

void evaluate_rms_normalization(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const tensor::Tensor& scale = context.inputs[1];
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  const double epsilon = float(context.attributes.get_float("epsilon", 1e-5f));
  const int64_t rows = count_of(x.dims(), 0, axis);
  const int64_t columns = count_of(x.dims(), axis, x.dims().size());
  std::vector<double> values = load<double>(x);
  for (int64_t r = 0; r < rows; ++r) {
    double* row = values.data() + r * columns;
    double squares = 0;
    for (int64_t c = 0; c < columns; ++c) squares += row[c] * row[c];
    const double inverse = 1 / std::sqrt(squares / double(columns) + epsilon);
    for (int64_t c = 0; c < columns; ++c) row[c] *= inverse;
  }
  const bool narrow = tensor::bits(x.dtype()) < 32;
  if (narrow) values = load<double>(store(x.dtype(), x.dims(), values));
  const std::vector<double> factors = load<double>(scale);
  Walk walk(x.dims(), broadcast_strides(scale.dims(), x.dims()));
  for (double& value : values) value *= factors[size_t(walk.next())];
  context.outputs[0] = store(scale.dtype(), x.dims(), values);
}

}  // namespace

const OpDef& rms_normalization_op() {
  static const OpDef def{
      .name = "RMSNormalization",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"axis", AttributeKind::integer},
                     {"epsilon", AttributeKind::real},
                     {"stash_type", AttributeKind::integer}},
      .since = 23,
      .infer = infer_rms_normalization,
      .evaluate = evaluate_rms_normalization,
  };
  return def;
}

}  // namespace lathe::op
