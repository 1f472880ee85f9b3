// x where it is positive, alpha x where not.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& leaky_relu_op() {
  static const OpDef def{
      .name = "LeakyRelu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 0.01f);
            evaluate_real(context, [&](double x) { return x < 0 ? alpha * x : x; });
          },
  };
  return def;
}

}  // namespace lathe::op
