// x times x / 6 + 1/2, which is cut to between 0 and 1.
#include <algorithm>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& hard_swish_op() {
  static const OpDef def{
      .name = "HardSwish",
      .min_inputs = 1,
      .max_inputs = 1,
      .since = 14,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_real(context, [](double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); });
          },
  };
  return def;
}

}  // namespace lathe::op
