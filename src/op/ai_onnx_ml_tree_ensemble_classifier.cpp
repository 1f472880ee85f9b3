// Decision trees whose leaves vote for classes: the class of each row, and the scores of all classes.
#include <algorithm>

#include "op/ml.h"
#include "op/trees.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "TreeEnsembleClassifier";

struct Classifier {
  Forest forest;
  Labels labels;
  std::vector<double> base;
  PostTransform transform;
  // Two classes of which the leaves know one, `only`. With 0, as gradient boosting is exported, its score is that of
  // the second class and the first has the rest (ONNX says nothing of this; it is what ONNX Runtime does and what
  // exporters rely on). The second class wins above 1/2 if no weight is negative (they are probabilities), else above
  // 0.
  bool one_score = false;
  int64_t only = 0;
  bool probabilities = true;
};

Classifier read_classifier(const Attributes& attributes) {
  Labels labels(kOp, attributes, "classlabels_int64s", "classlabels_strings");
  Classifier c{.forest = read_node_lists(kOp, attributes, "class", labels.size()),
               .labels = labels,
               .base = reals_or_tensor(kOp, attributes, "base_values"),
               .transform = post_transform(kOp, attributes)};
  const auto& ids = get_list<int64_t>(attributes, "class_ids");
  c.one_score = labels.size() == 2 && !ids.empty() && std::count(ids.begin(), ids.end(), ids[0]) == int64_t(ids.size());
  if (c.one_score) c.only = ids[0];
  for (const double weight : reals_or_tensor(kOp, attributes, "class_weights")) c.probabilities &= weight >= 0;
  if (c.one_score && c.base.size() == 1) {
    c.base.resize(2, 0);
    if (c.only == 1) std::swap(c.base[0], c.base[1]);
  }
  if (c.base.empty()) c.base.resize(size_t(labels.size()), 0);
  require_length(kOp, "base_values", c.base.size(), labels.size());
  if (c.one_score && c.only == 0 && c.base[1] != 0) {
    fail(ErrorCode::unsupported, "{}: base_values for both classes of a binary classifier with one score", kOp);
  }
  return c;
}

void infer_classifier(InferContext& context) {
  const auto [rows, features] = table_dims(context);
  const Classifier c = read_classifier(context.attributes);
  if (const auto count = features.constant()) require_tree_features(kOp, c.forest, *count);
  context.outputs[0] = {c.labels.dtype(), {rows}, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {tensor::DType::f32, {rows, c.labels.size()}, std::nullopt};
}

void evaluate_classifier(EvaluateContext& context) {
  const Classifier c = read_classifier(context.attributes);
  const Table x(context.inputs[0]);
  require_tree_features(kOp, c.forest, x.features);
  std::vector<int64_t> classes;
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> row = aggregate_votes(c.forest, Aggregate::sum, x.row(i));
    for (size_t k = 0; k < row.size(); ++k) row[k] += c.base[k];
    classes.push_back(c.one_score ? row[size_t(c.only)] > (c.probabilities ? 0.5 : 0) : arg_max(row));
    if (c.one_score && c.only == 0)
      row = pair_of_scores(kOp, c.transform, row[0], (c.probabilities ? 1 : 0) - row[0]);
    else
      transform_scores(c.transform, row);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  context.outputs[0] = c.labels.pick(classes);
  if (context.outputs.size() > 1) {
    context.outputs[1] = store(tensor::DType::f32, {x.rows, c.labels.size()}, scores);
  }
}

}  // namespace

const OpDef& ai_onnx_ml_tree_ensemble_classifier_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.TreeEnsembleClassifier",
      .min_inputs = 1,
      .max_inputs = 1,
      .max_outputs = 2,
      .attributes = {{"base_values", AttributeKind::reals},
                     {"base_values_as_tensor", AttributeKind::tensor, false, 3},
                     {"class_ids", AttributeKind::integers},
                     {"class_nodeids", AttributeKind::integers},
                     {"class_treeids", AttributeKind::integers},
                     {"class_weights", AttributeKind::reals},
                     {"class_weights_as_tensor", AttributeKind::tensor, false, 3},
                     {"classlabels_int64s", AttributeKind::integers},
                     {"classlabels_strings", AttributeKind::strings},
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
                     {"post_transform", AttributeKind::string}},
      .infer = infer_classifier,
      .evaluate = evaluate_classifier,
  };
  return def;
}

}  // namespace lathe::op
