// 1 / x.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& reciprocal_op() {
  static const OpDef def{
      .name = "Reciprocal",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, [](double x) { return 1 / x; }); },
  };
  return def;
}

}  // namespace lathe::op
