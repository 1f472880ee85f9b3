// One step of Adam, gradient descent by running means of the gradient (v) and of its square (h):
//   g = norm_coefficient x + gradient,  v' = alpha v + (1 - alpha) g,  h' = beta h + (1 - beta) g^2
//   x' = (1 - norm_coefficient_post) (x - r v' / (sqrt(h') + epsilon))
// with r = R sqrt(1 - beta^T) / (1 - alpha^T), or R if T is 0.
#include <cmath>

#include "op/optimizers.h"

namespace lathe::op {
namespace {

constexpr size_t kStates = 2;  // v, h

void evaluate_adam(EvaluateContext& context) {
  const Attributes& a = context.attributes;
  const double alpha = a.get_float("alpha", 0.9f);
  const double beta = a.get_float("beta", 0.999f);
  const double norm = a.get_float("norm_coefficient", 0);
  const double norm_post = a.get_float("norm_coefficient_post", 0);
  const double epsilon = a.get_float("epsilon", 1e-6f);
  evaluate_optimizer(context, kStates, [&](const OptimizerStep& step) -> OptimizerUpdate {
    double rate = step.rate;
    if (step.count > 0) {
      const double t = double(step.count);
      rate *= std::sqrt(1 - std::pow(beta, t)) / (1 - std::pow(alpha, t));
    }
    return [=](double x, double gradient, std::span<double> states) {
      const double g = norm * x + gradient;
      states[0] = alpha * states[0] + (1 - alpha) * g;
      states[1] = beta * states[1] + (1 - beta) * g * g;
      return (1 - norm_post) * (x - rate * states[0] / (std::sqrt(states[1]) + epsilon));
    };
  });
}

}  // namespace

const OpDef& ai_onnx_preview_training_adam_op() {
  static const OpDef def{
      .name = "ai.onnx.preview.training.Adam",
      .min_inputs = 6,
      .max_inputs = kVariadic,
      .min_outputs = 3,
      .max_outputs = kVariadic,
      .attributes = {{"alpha", AttributeKind::real},
                     {"beta", AttributeKind::real},
                     {"epsilon", AttributeKind::real},
                     {"norm_coefficient", AttributeKind::real},
                     {"norm_coefficient_post", AttributeKind::real}},
      .infer = [](InferContext& context) { infer_optimizer(context, kStates); },
      .evaluate = evaluate_adam,
  };
  return def;
}

}  // namespace lathe::op
