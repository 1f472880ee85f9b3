// Bit by bit or, broadcast.
#include "op/bitwise.h"

namespace lathe::op {
const OpDef& bitwise_or_op() {
  static const OpDef def{
      .name = "BitwiseOr",
      .min_inputs = 2,
      .max_inputs = 2,
      .since = 18,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_binary(context, kInteger); },
      .evaluate =
          [](EvaluateContext& context) { evaluate_bits(context, [](uint64_t a, uint64_t b) { return a | b; }); },
  };
  return def;
}

}  // namespace lathe::op
