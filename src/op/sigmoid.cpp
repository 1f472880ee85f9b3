// 1 / (1 + e^-x).
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& sigmoid_op() {
  static const OpDef def{
      .name = "Sigmoid",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat); },
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_real(context, [](double x) { return 1 / (1 + std::exp(-x)); });
          },
  };
  return def;
}

}  // namespace lathe::op
