#include "op/class_losses.h"

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

enum Input : size_t { kScores, kLabels, kWeights };

}  // namespace

void infer_class_loss(InferContext& context) {
  const TypeInfo& scores = require(context, kScores, kFloat);
  const TypeInfo& labels = context.input(kLabels);
  if (labels.dtype != DType::i32 && labels.dtype != DType::i64)
    bad(context, "labels: expected i32 or i64, found {}", to_string(labels));
  if (scores.shape.size() < 2) bad(context, "scores: expected rank 2 or more, found {}", to_string(scores));
  require_rank(context, kLabels, scores.shape.size() - 1);
  for (size_t i = 0; i < labels.shape.size(); ++i)
    require_dims_agree(context, "scores and labels", scores.shape[i == 0 ? 0 : i + 1], labels.shape[i]);
  if (context.has_input(kWeights)) {
    require_same_dtype(context, kScores, kWeights);
    require_rank(context, kWeights, 1);
    require_dims_agree(context, "weights of the classes", context.input(kWeights).shape[0], scores.shape[1]);
  }
  const std::string reduction = context.attributes.get_string("reduction", "mean");
  if (reduction != "none" && reduction != "sum" && reduction != "mean") bad(context, "reduction \"{}\"", reduction);
  context.outputs[0] = {scores.dtype, reduction == "none" ? labels.shape : tensor::Shape{}, std::nullopt};
}

void evaluate_class_loss(EvaluateContext& context, const std::vector<double>& log_probabilities) {
  const tensor::Tensor& scores = context.inputs[kScores];
  const tensor::Dims& dims = scores.dims();
  const int64_t classes = dims[1];
  const int64_t inner = count_of(dims, 2, dims.size());
  const auto ignored = context.attributes.find_int("ignore_index");
  const std::string reduction = context.attributes.get_string("reduction", "mean");
  const std::vector<int64_t> labels = load<int64_t>(context.inputs[kLabels]);
  std::vector<double> weights(size_t(classes), 1);
  if (context.has_input(kWeights)) weights = load<double>(context.inputs[kWeights]);
  std::vector<double> losses(labels.size(), 0);
  double sum = 0, weight_sum = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    const int64_t label = labels[i];
    if (ignored && label == *ignored) continue;
    if (label < 0 || label >= classes)
      fail(ErrorCode::invalid_input, "label {} is outside of {} classes", label, classes);
    const int64_t sample = int64_t(i) / inner;
    const int64_t at = (sample * classes + label) * inner + int64_t(i) % inner;
    losses[i] = -log_probabilities[size_t(at)] * weights[size_t(label)];
    sum += losses[i];
    weight_sum += weights[size_t(label)];
  }
  if (reduction == "none")
    context.outputs[0] = store(scores.dtype(), context.inputs[kLabels].dims(), losses);
  else  // the mean of nothing is NaN
    context.outputs[0] = store(scores.dtype(), {}, std::vector<double>{reduction == "sum" ? sum : sum / weight_sum});
}

}  // namespace lathe::op
