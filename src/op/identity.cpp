// The input itself.
#include "op/inference.h"

namespace lathe::op {

const OpDef& identity_op() {
  static const OpDef def{
      .name = "Identity",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infers_any = true,
      .infer =
          [](InferContext& context) {
            context.outputs[0] = context.input(0);
            if (context.outputs[0].is_plain()) set_elements(context.outputs[0], known_dims(context, 0));
          },
      .evaluate = [](EvaluateContext& context) { context.outputs[0] = context.inputs[0]; },
      .evaluate_data = [](DataContext& context) { context.outputs[0] = context.inputs[0]; },
  };
  return def;
}

}  // namespace lathe::op
