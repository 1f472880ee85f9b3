// gamma x where x is positive, gamma alpha (e^x - 1) where not.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& selu_op() {
  static const OpDef def{
      .name = "Selu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}, {"gamma", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 1.67326319217681884765625);
            const double gamma = context.attributes.get_float("gamma", 1.05070102214813232421875);
            evaluate_real(context, [&](double x) { return x > 0 ? gamma * x : gamma * alpha * std::expm1(x); });
          },
  };
  return def;
}

}  // namespace lathe::op
