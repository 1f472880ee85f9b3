// The nearest integer, halves to the even one.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& round_op() {
  static const OpDef def{
      .name = "Round",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_real(context, [](double x) { return std::nearbyint(x); });
          },
  };
  return def;
}

}  // namespace lathe::op
