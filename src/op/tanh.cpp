// The hyperbolic tangent.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& tanh_op() {
  static const OpDef def{
      .name = "Tanh",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::tanh(x); }); },
  };
  return def;
}

}  // namespace lathe::op
