// Every bit the other way.
#include "op/elementwise.h"

namespace lathe::op {
const OpDef& bitwise_not_op() {
  static const OpDef def{
      .name = "BitwiseNot",
      .min_inputs = 1,
      .max_inputs = 1,
      .since = 18,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kInteger); },
      .evaluate =
          [](EvaluateContext& context) {
            const tensor::Tensor& x = context.inputs[0];
            std::vector<uint64_t> values = load<uint64_t>(x);
            for (uint64_t& value : values) value = ~value;
            context.outputs[0] = store(x.dtype(), x.dims(), values);
          },
  };
  return def;
}

}  // namespace lathe::op
