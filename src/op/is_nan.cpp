// Whether x is NaN.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& is_nan_op() {
  static const OpDef def{
      .name = "IsNaN",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_unary(context, kFloat | kSmallFloat);
            context.outputs[0].dtype = tensor::DType::boolean;
          },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] =
                map(context.inputs[0], tensor::DType::boolean, [](auto x) { return std::isnan(double(x)); });
          },
  };
  return def;
}

}  // namespace lathe::op
