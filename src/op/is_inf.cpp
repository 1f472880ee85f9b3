// Whether x is an infinity of a sign that the attributes ask for.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
const OpDef& is_inf_op() {
  static const OpDef def{
      .name = "IsInf",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"detect_negative", AttributeKind::integer},
                     {"detect_positive", AttributeKind::integer}},
      .elementwise = true,
      .infer =
          [](InferContext& context) {
            infer_unary(context, kFloat | kSmallFloat);
            context.outputs[0].dtype = tensor::DType::boolean;
          },
      .evaluate =
          [](EvaluateContext& context) {
            const bool negative = context.attributes.get_int("detect_negative", 1) != 0;
            const bool positive = context.attributes.get_int("detect_positive", 1) != 0;
            context.outputs[0] = map(context.inputs[0], tensor::DType::boolean, [&](auto x) {
              return std::isinf(double(x)) && (x < 0 ? negative : positive);
            });
          },
  };
  return def;
}

}  // namespace lathe::op
