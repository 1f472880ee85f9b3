// What NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss share: picking each sample's class and reducing.
#pragma once

#include <vector>

#include "op/op.h"

namespace lathe::op {

// Inputs: scores [N, C, d...], labels [N, d...], weights? [C]. Output 0: [N, d...], or a scalar if reduced.
void infer_class_loss(InferContext& context);
// Output 0 from the log probabilities of the scores.
void evaluate_class_loss(EvaluateContext& context, const std::vector<double>& log_probabilities);

}  // namespace lathe::op
