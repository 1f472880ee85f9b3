// x where it is positive, alpha (e^x - 1) where not.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& elu_op() {
  static const OpDef def{
      .name = "Elu",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"alpha", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            const double alpha = context.attributes.get_float("alpha", 1);
            evaluate_real(context, [&](double x) { return x < 0 ? alpha * std::expm1(x) : x; });
          },
  };
  return def;
}

}  // namespace lathe::op
