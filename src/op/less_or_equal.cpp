// a <= b, broadcast.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& less_or_equal_op() {
  static const OpDef def{
      .name = "LessOrEqual",
      .min_inputs = 2,
      .max_inputs = 2,
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_compare(context, kNumeric);
            combine_elements(context,
                             [](const tensor::Dim& a, const tensor::Dim& b) -> std::optional<tensor::Dim> {
                               if (!a.is_constant() || !b.is_constant()) return std::nullopt;
                               return tensor::Dim(a.value() <= b.value());
                             });
          },
      .evaluate =
          [](EvaluateContext& context) { evaluate_compare(context, [](auto a, auto b) { return a <= b; }); },
  };
  return def;
}

}  // namespace lathe::op
