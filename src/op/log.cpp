// The natural logarithm; NaN below 0.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& log_op() {
  static const OpDef def{
      .name = "Log",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::log(x); }); },
  };
  return def;
}

}  // namespace lathe::op
