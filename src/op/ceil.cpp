// The smallest integer not below x.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& ceil_op() {
  static const OpDef def{
      .name = "Ceil",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::ceil(x); }); },
  };
  return def;
}

}  // namespace lathe::op
