// x moved by bias towards 0 where it is further from it than lambd, 0 elsewhere.
#include <limits>
#include <type_traits>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

// Integers are computed in long double, whose 64 bits of mantissa hold all of them, truncated and cut to their range.
template <class V>
V shrink(V x, double bias, double lambd) {
  using Wide = std::conditional_t<std::is_integral_v<V>, long double, double>;
  const Wide wide = Wide(x);
  const Wide moved = wide < -lambd ? wide + Wide(bias) : wide > lambd ? wide - Wide(bias) : Wide(0);
  if constexpr (std::is_integral_v<V>) {
    using Limits = std::numeric_limits<V>;
    if (!(moved > Wide(Limits::min()))) return Limits::min();
    if (moved >= Wide(Limits::max())) return Limits::max();
  }
  return V(moved);
}

}  // namespace

const OpDef& shrink_op() {
  static const OpDef def{
      .name = "Shrink",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"bias", AttributeKind::real}, {"lambd", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kNumeric); },
      .evaluate =
          [](EvaluateContext& context) {
            const double bias = context.attributes.get_float("bias", 0);
            const double lambd = context.attributes.get_float("lambd", 0.5);
            const tensor::Tensor& x = context.inputs[0];
            context.outputs[0] = map(x, x.dtype(), [&](auto value) { return shrink(value, bias, lambd); });
          },
  };
  return def;
}

}  // namespace lathe::op
