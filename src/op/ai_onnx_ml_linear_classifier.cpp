// X C' + intercepts as scores of classes: the class of each row, and the scores.
#include <numeric>

#include "op/ml.h"

namespace lathe::op {
namespace {

constexpr std::string_view kOp = "LinearClassifier";

Labels read_labels(const Attributes& attributes) {
  return Labels(kOp, attributes, "classlabels_ints", "classlabels_strings");
}

// How many rows the coefficients have: one for each class, or a single one for two classes.
int64_t count_scores(const Attributes& attributes, int64_t features, int64_t classes) {
  const int64_t count = int64_t(get_list<double>(attributes, "coefficients").size());
  if (count == features * classes) return classes;
  if (classes == 2 && count == features) return 1;
  fail(ErrorCode::invalid_input, "{}: {} coefficients for {} features and {} classes", kOp, count, features, classes);
}

void infer_linear_classifier(InferContext& context) {
  const auto [rows, features] = table_dims(context);
  const Labels labels = read_labels(context.attributes);
  post_transform(kOp, context.attributes);
  const auto& intercepts = get_list<double>(context.attributes, "intercepts");
  if (const auto count = features.constant()) {
    const int64_t scores = count_scores(context.attributes, *count, labels.size());
    if (!intercepts.empty()) require_length(kOp, "intercepts", intercepts.size(), scores);
  }
  context.outputs[0] = {labels.dtype(), {rows}, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {tensor::DType::f32, {rows, labels.size()}, std::nullopt};
}

void evaluate_linear_classifier(EvaluateContext& context) {
  const Table x(context.inputs[0]);
  const Labels labels = read_labels(context.attributes);
  const PostTransform transform = post_transform(kOp, context.attributes);
  const auto& coefficients = get_list<double>(context.attributes, "coefficients");  // [scores, F]
  const auto& intercepts = get_list<double>(context.attributes, "intercepts");
  const int64_t count = count_scores(context.attributes, x.features, labels.size());
  std::vector<int64_t> classes;
  std::vector<double> scores;
  for (int64_t i = 0; i < x.rows; ++i) {
    std::vector<double> row;
    for (int64_t k = 0; k < count; ++k) {
      row.push_back(std::inner_product(x.row(i).begin(), x.row(i).end(), coefficients.begin() + k * x.features,
                                       intercepts.empty() ? 0.0 : intercepts[size_t(k)]));
    }
    const bool one_score = count < labels.size();
    classes.push_back(one_score ? row[0] > 0 : arg_max(row));
    if (one_score)
      row = pair_of_scores(kOp, transform, row[0], 1 - row[0]);
    else
      transform_scores(transform, row);
    scores.insert(scores.end(), row.begin(), row.end());
  }
  context.outputs[0] = labels.pick(classes);
  if (context.outputs.size() > 1) context.outputs[1] = store(tensor::DType::f32, {x.rows, labels.size()}, scores);
}

}  // namespace

const OpDef& ai_onnx_ml_linear_classifier_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.LinearClassifier",
      .min_inputs = 1,
      .max_inputs = 1,
      .max_outputs = 2,
      .attributes = {{"classlabels_ints", AttributeKind::integers},
                     {"classlabels_strings", AttributeKind::strings},
                     {"coefficients", AttributeKind::reals, true},
                     {"intercepts", AttributeKind::reals},
                     {"multi_class", AttributeKind::integer},
                     {"post_transform", AttributeKind::string}},
      .infer = infer_linear_classifier,
      .evaluate = evaluate_linear_classifier,
  };
  return def;
}

}  // namespace lathe::op
