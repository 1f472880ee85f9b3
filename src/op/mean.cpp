// The mean of one or more tensors, broadcast.
#include "op/elementwise.h"
#include "op/variadic_sum.h"

namespace lathe::op {
const OpDef& mean_op() {
  static const OpDef def{
      .name = "Mean",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_variadic(context, kFloat); },
      .evaluate = [](EvaluateContext& context) { evaluate_sum(context, double(context.inputs.size())); },
  };
  return def;
}

}  // namespace lathe::op
