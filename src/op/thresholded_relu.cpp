// x where it is above alpha, 0 elsewhere.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& thresholded_relu_op() {
  static const OpDef def{
      .name = "ThresholdedRelu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 1);
            evaluate_real(context, [&](double x) { return x > alpha ? x : 0; });
          },
  };
  return def;
}

}  // namespace lathe::op
