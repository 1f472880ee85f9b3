// The smallest of one or more tensors, broadcast; NaN wins.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& min_op() {
  static const OpDef def{
      .name = "Min",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_variadic(context, kNumeric);
            if (context.inputs.size() != 2) return;
            combine_elements(context,
                             [](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
                               if (provably_at_least(a, b)) return b;
                               if (provably_at_least(b, a)) return a;
                               return std::nullopt;
                             });
          },
      .evaluate = [](EvaluateContext& context) { evaluate_variadic(context, NanMin{}); },
  };
  return def;
}

}  // namespace lathe::op
