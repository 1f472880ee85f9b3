// Decision trees: [N, F] features to [N, targets].
#include "op/ml.h"
#include "op/trees.h"

namespace lathe::op {
namespace {

constexpr DTypeSet kReal = kF16 | kF32 | kF64;

int64_t choice(const Attributes& attributes, std::string_view name, int64_t otherwise, int64_t count) {
  const int64_t value = attributes.get_int(name, otherwise);
  if (value < 0 || value >= count) fail(ErrorCode::invalid_input, "TreeEnsemble: unknown {} {}", name, value);
  return value;
}

void infer_tree_ensemble(InferContext& context) {
  const auto [rows, features] = table_dims(context, kReal);
  const Forest forest = read_tree_ensemble(context.attributes);
  choice(context.attributes, "aggregate_function", 1, 4);
  choice(context.attributes, "post_transform", 0, 5);
  if (const auto count = features.constant()) require_tree_features(context.op, forest, *count);
  context.outputs[0] = {context.input(0).dtype, {rows, forest.targets}, std::nullopt};
}

void evaluate_tree_ensemble(EvaluateContext& context) {
  const Forest forest = read_tree_ensemble(context.attributes);
  const auto how = Aggregate(choice(context.attributes, "aggregate_function", 1, 4));
  const auto transform = PostTransform(choice(context.attributes, "post_transform", 0, 5));
  const Table x(context.inputs[0]);
  require_tree_features("TreeEnsemble", forest, x.features);
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> row = aggregate_votes(forest, how, x.row(i));
    transform_scores(transform, row);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  context.outputs[0] = store(context.inputs[0].dtype(), {x.rows, forest.targets}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_tree_ensemble_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.TreeEnsemble",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"aggregate_function", AttributeKind::integer},
                     {"leaf_targetids", AttributeKind::integers, true},
                     {"leaf_weights", AttributeKind::tensor, true},
                     {"membership_values", AttributeKind::tensor},
                     {"n_targets", AttributeKind::integer},
                     {"nodes_falseleafs", AttributeKind::integers, true},
                     {"nodes_falsenodeids", AttributeKind::integers, true},
                     {"nodes_featureids", AttributeKind::integers, true},
                     {"nodes_hitrates", AttributeKind::tensor},
                     {"nodes_missing_value_tracks_true", AttributeKind::integers},
                     {"nodes_modes", AttributeKind::tensor, true},
                     {"nodes_splits", AttributeKind::tensor, true},
                     {"nodes_trueleafs", AttributeKind::integers, true},
                     {"nodes_truenodeids", AttributeKind::integers, true},
                     {"post_transform", AttributeKind::integer},
                     {"tree_roots", AttributeKind::integers, true}},
      .since = 5,
      .infer = infer_tree_ensemble,
      .evaluate = evaluate_tree_ensemble,
  };
  return def;
}

}  // namespace lathe::op
