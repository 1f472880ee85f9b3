// The inverse hyperbolic cosine.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& acosh_op() {
  static const OpDef def{
      .name = "Acosh",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::acosh(x); }); },
  };
  return def;
}

}  // namespace lathe::op
