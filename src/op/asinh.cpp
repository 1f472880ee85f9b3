// The inverse hyperbolic sine.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& asinh_op() {
  static const OpDef def{
      .name = "Asinh",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::asinh(x); }); },
  };
  return def;
}

}  // namespace lathe::op
