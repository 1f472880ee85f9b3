// The largest integer not above x.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& floor_op() {
  static const OpDef def{
      .name = "Floor",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_real(context, [](double x) { return std::floor(x); }); },
  };
  return def;
}

}  // namespace lathe::op
