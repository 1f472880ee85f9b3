// The negative log likelihood of each sample's class under the softmax of its scores, and those log probabilities.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op/class_losses.h"
#include "op/inference.h"
#include "op/lines.h"

namespace lathe::op {
namespace {

void infer_cross_entropy(InferContext& context) {
  infer_class_loss(context);
  const TypeInfo& scores = context.input(0);
  if (context.outputs.size() > 1) context.outputs[1] = {scores.dtype, scores.shape, std::nullopt};
}

void evaluate_cross_entropy(EvaluateContext& context) {
  const tensor::Tensor& scores = context.inputs[0];
  std::vector<double> values = load<double>(scores);
  for_each_line(scores.dims(), 1, [&](const Line& line, int64_t) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t j = 0; j < line.count; ++j) largest = std::max(largest, values[size_t(line.at(j))]);
    double sum = 0;
    for (int64_t j = 0; j < line.count; ++j) sum += std::exp(values[size_t(line.at(j))] - largest);
    for (int64_t j = 0; j < line.count; ++j) values[size_t(line.at(j))] -= largest + std::log(sum);
  });
  evaluate_class_loss(context, values);
  if (context.outputs.size() > 1) context.outputs[1] = store(scores.dtype(), scores.dims(), values);
}

}  // namespace

const OpDef& softmax_cross_entropy_loss_op() {
  static const OpDef def{
      .name = "SoftmaxCrossEntropyLoss",
      .min_inputs = 2,
      .max_inputs = 3,
      .min_outputs = 1,
      .max_outputs = 2,
      .attributes = {{"ignore_index", AttributeKind::integer}, {"reduction", AttributeKind::string}},
      .infer = infer_cross_entropy,
      .evaluate = evaluate_cross_entropy,
  };
  return def;
}

}  // namespace lathe::op
