// x / (1 + e^(-alpha x)).
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& swish_op() {
  static const OpDef def{
      .name = "Swish",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}},
      .since = 24,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 1);
            evaluate_real(context, [&](double x) { return x / (1 + std::exp(-alpha * x)); });
          },
  };
  return def;
}

}  // namespace lathe::op
