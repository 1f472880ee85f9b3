// One step of gradient descent whose rate falls with the sum of squared gradients:
//   g = norm_coefficient x + gradient,  h' = h + g^2,  x' = x - R / (1 + T decay_factor) g / (sqrt(h') + epsilon)
#include <cmath>

#include "op/optimizers.h"

namespace lathe::op {
namespace {

constexpr size_t kStates = 1;  // h

void evaluate_adagrad(EvaluateContext& context) {
  const Attributes& a = context.attributes;
  const double norm = a.get_float("norm_coefficient", 0);
  const double epsilon = a.get_float("epsilon", 1e-6f);
  evaluate_optimizer(context, kStates, [&](const OptimizerStep& step) -> OptimizerUpdate {
    const double rate = step.rate / (1 + double(step.count) * a.get_float("decay_factor", 0));
    return [=](double x, double gradient, std::span<double> states) {
      const double g = norm * x + gradient;
      states[0] += g * g;
      return x - rate * g / (std::sqrt(states[0]) + epsilon);
    };
  });
}

}  // namespace

const OpDef& ai_onnx_preview_training_adagrad_op() {
  static const OpDef def{
      .name = "ai.onnx.preview.training.Adagrad",
      .min_inputs = 5,
      .max_inputs = kVariadic,
      .min_outputs = 2,
      .max_outputs = kVariadic,
      .attributes = {{"decay_factor", AttributeKind::real},
                     {"epsilon", AttributeKind::real},
                     {"norm_coefficient", AttributeKind::real}},
      .infer = [](InferContext& context) { infer_optimizer(context, kStates); },
      .evaluate = evaluate_adagrad,
  };
  return def;
}

}  // namespace lathe::op
