// alpha x + beta, cut to between 0 and 1.
#include <algorithm>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& hard_sigmoid_op() {
  static const OpDef def{
      .name = "HardSigmoid",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}, {"beta", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 0.2f);
            const double beta = context.attributes.get_float("beta", 0.5);
            evaluate_real(context, [&](double x) { return std::clamp(alpha * x + beta, 0.0, 1.0); });
          },
  };
  return def;
}

}  // namespace lathe::op
