// min(max(x, low), high); both bounds are optional scalars. NaN stays NaN; low above high gives high.
#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_clip(InferContext& context) {
  infer_unary(context, kNumeric);
  for (size_t i = 1; i < 3; ++i) {
    if (!context.has_input(i)) continue;
    require_same_dtype(context, 0, i);
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1)
      bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
}

void evaluate_clip(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  context.outputs[0] = with_compute_type(x.dtype(), [&](auto zero) {
    using V = decltype(zero);
    std::vector<V> values = load<V>(x);
    if (context.has_input(1)) {
      const V low = load<V>(context.inputs[1]).at(0);
      for (V& value : values) value = value < low ? low : value;
    }
    if (context.has_input(2)) {
      const V high = load<V>(context.inputs[2]).at(0);
      for (V& value : values) value = value > high ? high : value;
    }
    return store(x.dtype(), x.dims(), values);
  });
}

}  // namespace

const OpDef& clip_op() {
  static const OpDef def{.name = "Clip",
                         .min_inputs = 1,
                         .max_inputs = 3,
                         .elementwise = true,
                         .infer = infer_clip,
                         .evaluate = evaluate_clip};
  return def;
}

}  // namespace lathe::op
