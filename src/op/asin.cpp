// The arc sine.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& asin_op() {
  static const OpDef def{
      .name = "Asin",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::asin(x); }); },
  };
  return def;
}

}  // namespace lathe::op
