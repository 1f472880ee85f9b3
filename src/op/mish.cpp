// x tanh(ln(1 + e^x)).
#include "op/elementwise.h"
#include "op/softplus_function.h"

namespace lathe::op {
const OpDef& mish_op() {
  static const OpDef def{
      .name = "Mish",
      .min_inputs = 1,
      .max_inputs = 1,
      .since = 18,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return x * std::tanh(softplus(x)); }); },
  };
  return def;
}

}  // namespace lathe::op
