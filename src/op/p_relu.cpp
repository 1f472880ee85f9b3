// x where it is positive, slope x where not; the slopes broadcast to x.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_p_relu(InferContext& context) {
  infer_binary(context, kNumeric);
  const tensor::Shape& x = context.input(0).shape;
  const tensor::Shape& both = context.outputs[0].shape;
  if (both.size() != x.size()) {
    bad(context, "slope {} does not broadcast to {}", to_string(context.input(1)), to_string(context.input(0)));
  }
  for (size_t i = 0; i < x.size(); ++i) require_dims_agree(context, fmt::format("dimension {}", i), x[i], both[i]);
  context.outputs[0].shape = x;
}

}  // namespace

const OpDef& p_relu_op() {
  static const OpDef def{
      .name = "PRelu",
      .min_inputs = 2,
      .max_inputs = 2,
      .elementwise = true,
      .infer = infer_p_relu,
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_binary(context, [](auto x, auto slope) { return x < 0 ? WrappingMultiply{}(x, slope) : x; });
          },
  };
  return def;
}

}  // namespace lathe::op
