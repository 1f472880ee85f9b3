// a - b, broadcast; integers wrap.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& sub_op() {
  static const OpDef def{
      .name = "Sub",
      .min_inputs = 2,
      .max_inputs = 2,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_binary(context, kNumeric);
            combine_elements(context,
                             [](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
                               return a - b;
                             });
          },
      .evaluate = [](EvaluateContext& context) { evaluate_binary(context, WrappingSubtract{}); },
  };
  return def;
}

}  // namespace lathe::op
