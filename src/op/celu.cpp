// max(0, x) + min(0, alpha (e^(x / alpha) - 1)).
#include <algorithm>
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_celu(InferContext& context) {
  infer_unary(context, kF32);
  if (context.attributes.get_float("alpha", 1) == 0) bad(context, "alpha must not be 0");
}

void evaluate_celu(EvaluateContext& context) {
  const double alpha = context.attributes.get_float("alpha", 1);
  evaluate_real(context, [&](double x) {
    if (std::isnan(x)) return x;
    return std::max(0.0, x) + std::min(0.0, alpha * std::expm1(x / alpha));
  });
}

}  // namespace

const OpDef& celu_op() {
  static const OpDef def{
      .name = "Celu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}},
      .elementwise = true,
      .infer = infer_celu,
      .evaluate = evaluate_celu,
  };
  return def;
}

}  // namespace lathe::op
