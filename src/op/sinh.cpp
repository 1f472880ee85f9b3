// The hyperbolic sine.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& sinh_op() {
  static const OpDef def{
      .name = "Sinh",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::sinh(x); }); },
  };
  return def;
}

}  // namespace lathe::op
