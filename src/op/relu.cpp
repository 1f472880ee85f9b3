// max(x, 0); NaN stays NaN.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& relu_op() {
  static const OpDef def{
      .name = "Relu",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFloat | kSigned); },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] = map(context.inputs[0], context.inputs[0].dtype(),
                                     [](auto x) { return x < 0 ? decltype(x){0} : x; });
          },
  };
  return def;
}

}  // namespace lathe::op
