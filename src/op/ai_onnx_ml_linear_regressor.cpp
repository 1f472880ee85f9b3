// X C' + intercepts: [N, F] features to [N, targets].
#include <numeric>

#include "op/ml.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "LinearRegressor";

void infer_linear_regressor(InferContext& context) {
  const tensor::Dim rows = table_dims(context).rows;
  const int64_t targets = context.attributes.get_int("targets", 1);
  if (targets < 1) bad(context, "targets is {}", targets);
  require_features(context, "coefficients", get_list<double>(context.attributes, "coefficients").size(), targets);
  const auto& intercepts = get_list<double>(context.attributes, "intercepts");
  if (!intercepts.empty()) require_length(kOp, "intercepts", intercepts.size(), targets);
  post_transform(kOp, context.attributes);
  context.outputs[0] = {tensor::DType::f32, {rows, targets}, std::nullopt};
}

void evaluate_linear_regressor(EvaluateContext& context) {
  const Table x(context.inputs[0]);
  const int64_t targets = context.attributes.get_int("targets", 1);
  const auto& coefficients = get_list<double>(context.attributes, "coefficients");  // [targets, F]
  const auto& intercepts = get_list<double>(context.attributes, "intercepts");
  const PostTransform transform = post_transform(kOp, context.attributes);
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> row;
    for (int64_t t = 0; t < targets; ++t) {
      row.push_back(std::inner_product(x.row(i).begin(), x.row(i).end(), coefficients.begin() + t * x.features,
                                       intercepts.empty() ? 0.0 : intercepts[size_t(t)]));
    }
    transform_scores(transform, row);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  context.outputs[0] = store(tensor::DType::f32, {x.rows, targets}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_linear_regressor_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.LinearRegressor",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"coefficients", AttributeKind::reals},
                     {"intercepts", AttributeKind::reals},
                     {"post_transform", AttributeKind::string},
                     {"targets", AttributeKind::integer}},
      .infer = infer_linear_regressor,
      .evaluate = evaluate_linear_regressor,
  };
  return def;
}

}  // namespace lathe::op
