// x / (1 + |x|).
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& softsign_op() {
  static const OpDef def{
      .name = "Softsign",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return x / (1 + std::fabs(x)); }); },
  };
  return def;
}

}  // namespace lathe::op
