// ln(1 + e^x).
#include "op/elementwise.h"
#include "op/softplus_function.h"

namespace lathe::op {
const OpDef& softplus_op() {
  static const OpDef def{
      .name = "Softplus",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_real(context, softplus); },
  };
  return def;
}

}  // namespace lathe::op
