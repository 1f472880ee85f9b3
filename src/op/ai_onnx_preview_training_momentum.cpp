// One step of gradient descent with momentum v:
//   g = norm_coefficient x + gradient,  v' = alpha v + (T > 0 ? beta : 1) g
//   x' = x - R v' ("standard") or x - R (g + alpha v') ("nesterov")
#include "op/inference.h"
#include "op/optimizers.h"

namespace lathe::op {
namespace {

constexpr size_t kStates = 1;  // v

void infer_momentum(InferContext& context) {
  infer_optimizer(context, kStates);
  const std::string mode = context.attributes.get_string("mode", "");
  if (mode != "standard" && mode != "nesterov") bad(context, "mode \"{}\"", mode);
}

void evaluate_momentum(EvaluateContext& context) {
  const Attributes& a = context.attributes;
  const double alpha = a.get_float("alpha", 0);
  const double norm = a.get_float("norm_coefficient", 0);
  const bool nesterov = a.get_string("mode", "") == "nesterov";
  evaluate_optimizer(context, kStates, [&](const OptimizerStep& step) -> OptimizerUpdate {
    const double beta = step.count > 0 ? a.get_float("beta", 0) : 1;
    return [=, rate = step.rate](double x, double gradient, std::span<double> states) {
      const double g = norm * x + gradient;
      states[0] = alpha * states[0] + beta * g;
      return x - rate * (nesterov ? g + alpha * states[0] : states[0]);
    };
  });
}

}  // namespace

const OpDef& ai_onnx_preview_training_momentum_op() {
  static const OpDef def{
      .name = "ai.onnx.preview.training.Momentum",
      .min_inputs = 5,
      .max_inputs = kVariadic,
      .min_outputs = 2,
      .max_outputs = kVariadic,
      .attributes = {{"alpha", AttributeKind::real, true},
                     {"beta", AttributeKind::real, true},
                     {"mode", AttributeKind::string, true},
                     {"norm_coefficient", AttributeKind::real, true}},
      .infer = infer_momentum,
      .evaluate = evaluate_momentum,
  };
  return def;
}

}  // namespace lathe::op
