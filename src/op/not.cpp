// Logical negation.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& not_op() {
  static const OpDef def{
      .name = "Not",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kBool); },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] =
                map(context.inputs[0], context.inputs[0].dtype(), [](auto x) { return x == 0; });
          },
  };
  return def;
}

}  // namespace lathe::op
