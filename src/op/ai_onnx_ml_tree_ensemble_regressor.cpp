// Decision trees given as lists of nodes and of votes: [N, F] features to [N, targets].
#include "op/ml.h"
#include "op/trees.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "TreeEnsembleRegressor";

Aggregate aggregate(const Attributes& attributes) {
  const std::string name = attributes.get_string("aggregate_function", "SUM");
  if (name == "AVERAGE") return Aggregate::average;
  if (name == "SUM") return Aggregate::sum;
  if (name == "MIN") return Aggregate::min;
  if (name == "MAX") return Aggregate::max;
  fail(ErrorCode::invalid_input, "{}: unknown aggregate_function \"{}\"", kOp, name);
}

Forest read_forest(const Attributes& attributes) {
  const int64_t targets = attributes.get_int("n_targets", 0);
  if (targets < 1) fail(ErrorCode::invalid_input, "{}: n_targets is {}", kOp, targets);
  return read_node_lists(kOp, attributes, "target", targets);
}

std::vector<double> base_values(const Attributes& attributes, int64_t targets) {
  std::vector<double> base = reals_or_tensor(kOp, attributes, "base_values");
  if (base.empty()) base.resize(size_t(targets), 0);
  require_length(kOp, "base_values", base.size(), targets);
  return base;
}

void infer_regressor(InferContext& context) {
  const auto [rows, features] = table_dims(context);
  const Forest forest = read_forest(context.attributes);
  aggregate(context.attributes);
  post_transform(kOp, context.attributes);
  base_values(context.attributes, forest.targets);
  if (const auto count = features.constant()) require_tree_features(kOp, forest, *count);
  context.outputs[0] = {tensor::DType::f32, {rows, forest.targets}, std::nullopt};
}

void evaluate_regressor(EvaluateContext& context) {
  const Forest forest = read_forest(context.attributes);
  const std::vector<double> base = base_values(context.attributes, forest.targets);
  const Table x(context.inputs[0]);
  require_tree_features(kOp, forest, x.features);
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> row = aggregate_votes(forest, aggregate(context.attributes), x.row(i));
    for (size_t t = 0; t < row.size(); ++t) row[t] += base[t];
    transform_scores(post_transform(kOp, context.attributes), row);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  context.outputs[0] = store(tensor::DType::f32, {x.rows, forest.targets}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_tree_ensemble_regressor_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.TreeEnsembleRegressor",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"aggregate_function", AttributeKind::string},
                     {"base_values", AttributeKind::reals},
                     {"base_values_as_tensor", AttributeKind::tensor, false, 3},
                     {"n_targets", AttributeKind::integer},
                     {"nodes_falsenodeids", AttributeKind::integers},
                     {"nodes_featureids", AttributeKind::integers},
                     {"nodes_hitrates", AttributeKind::reals},
                     {"nodes_hitrates_as_tensor", AttributeKind::tensor, false, 3},
                     {"nodes_missing_value_tracks_true", AttributeKind::integers},
                     {"nodes_modes", AttributeKind::strings},
                     {"nodes_nodeids", AttributeKind::integers},
                     {"nodes_treeids", AttributeKind::integers},
                     {"nodes_truenodeids", AttributeKind::integers},
                     {"nodes_values", AttributeKind::reals},
                     {"nodes_values_as_tensor", AttributeKind::tensor, false, 3},
                     {"post_transform", AttributeKind::string},
                     {"target_ids", AttributeKind::integers},
                     {"target_nodeids", AttributeKind::integers},
                     {"target_treeids", AttributeKind::integers},
                     {"target_weights", AttributeKind::reals},
                     {"target_weights_as_tensor", AttributeKind::tensor, false, 3}},
      .infer = infer_regressor,
      .evaluate = evaluate_regressor,
  };
  return def;
}

}  // namespace lathe::op
