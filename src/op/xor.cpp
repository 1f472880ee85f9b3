// Logical exclusive or, broadcast.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& xor_op() {
  static const OpDef def{
      .name = "Xor",
      .min_inputs = 2,
      .max_inputs = 2,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_compare(context, kBool); },
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_compare(context, [](auto a, auto b) { return (a != 0) != (b != 0); });
          },
  };
  return def;
}

}  // namespace lathe::op
