// (x - mean) / sqrt(variance + epsilon) * scale + bias over the axes from `axis` on. In double, rounded once;
// mean and inverse deviation are optional outputs in the stash type.
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void require_suffix_broadcast(const InferContext& context, size_t input) {
  const tensor::Shape& x = context.input(0).shape;
  const tensor::Shape& other = context.input(input).shape;
  const tensor::Shape sum = with_context("LayerNormalization", [&] { return tensor::broadcast(x, other); });
  if (sum.size() != x.size()) bad(context, "input {} has a higher rank than x", input);
  for (size_t i = 0; i < x.size(); ++i)
    require_dims_agree(context, fmt::format("input {}", input), sum[i], x[i]);
}

void infer_layer_normalization(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", -1), x.shape.size());
  require_same_dtype(context, 0, 1);
  require_same_dtype(context, 0, 2);
  require_suffix_broadcast(context, 1);
  if (context.has_input(2)) require_suffix_broadcast(context, 2);
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
  const int64_t stash = context.attributes.get_int("stash_type", 1);
  const auto stash_type = tensor::DType(stash);
  if (stash != int64_t(tensor::DType::f32) && stash != int64_t(tensor::DType::bf16)) {
    bad(context, "stash_type: expected 1 or 16, found {}", stash);
  }
  tensor::Shape statistics = x.shape;
  for (size_t i = axis; i < statistics.size(); ++i) statistics[i] = tensor::Dim(1);
  for (size_t i = 1; i < context.outputs.size(); ++i)
    context.outputs[i] = {stash_type, statistics, std::nullopt};
}

void evaluate_layer_normalization(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const size_t axis = axis_index(context.attributes.get_int("axis", -1), x.rank());
  const double epsilon = float(context.attributes.get_float("epsilon", 1e-5f));
  const int64_t rows = count_of(x.dims(), 0, axis);
  const int64_t columns = count_of(x.dims(), axis, x.dims().size());
  std::vector<double> values = load<double>(x);
  std::vector<double> means(static_cast<size_t>(rows));
  std::vector<double> inverses(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) {
    double* row = values.data() + r * columns;
    double sum = 0;
    for (int64_t c = 0; c < columns; ++c) sum += row[c];
    const double mean = sum / double(columns);
    double squares = 0;
    for (int64_t c = 0; c < columns; ++c) squares += (row[c] - mean) * (row[c] - mean);
    const double inverse = 1 / std::sqrt(squares / double(columns) + epsilon);
    for (int64_t c = 0; c < columns; ++c) row[c] = (row[c] - mean) * inverse;
    means[size_t(r)] = mean;
    inverses[size_t(r)] = inverse;
  }
  const std::vector<double> scale = load<double>(context.inputs[1]);
  Walk walk_scale(x.dims(), broadcast_strides(context.inputs[1].dims(), x.dims()));
  for (double& value : values) value *= scale[size_t(walk_scale.next())];
  if (context.has_input(2)) {
    const std::vector<double> bias = load<double>(context.inputs[2]);
    Walk walk_bias(x.dims(), broadcast_strides(context.inputs[2].dims(), x.dims()));
    for (double& value : values) value += bias[size_t(walk_bias.next())];
  }
  context.outputs[0] = store(x.dtype(), x.dims(), values);
  const auto stash = tensor::DType(context.attributes.get_int("stash_type", 1));
  tensor::Dims statistics = x.dims();
  for (size_t i = axis; i < statistics.size(); ++i) statistics[i] = 1;
  if (context.outputs.size() > 1) context.outputs[1] = store(stash, statistics, means);
  if (context.outputs.size() > 2) context.outputs[2] = store(stash, statistics, inverses);
}

}  // namespace

const OpDef& layer_normalization_op() {
  static const OpDef def{
      .name = "LayerNormalization",
      .min_inputs = 2,
      .max_inputs = 3,
      .min_outputs = 1,
      .max_outputs = 3,
      .attributes = {{"axis", AttributeKind::integer},
                     {"epsilon", AttributeKind::real},
                     {"stash_type", AttributeKind::integer}},
      .since = 17,
      .infer = infer_layer_normalization,
      .evaluate = evaluate_layer_normalization,
  };
  return def;
}

}  // namespace lathe::op
