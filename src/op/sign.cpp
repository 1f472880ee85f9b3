// -1, 0 or 1; NaN stays NaN.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

struct Sign {
  double operator()(double x) const { return std::isnan(x) ? x : x > 0 ? 1 : x < 0 ? -1 : 0; }
  int64_t operator()(int64_t x) const { return x > 0 ? 1 : x < 0 ? -1 : 0; }
  uint64_t operator()(uint64_t x) const { return x > 0; }
};

}  // namespace

const OpDef& sign_op() {
  static const OpDef def{
      .name = "Sign",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kNumeric); },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] = map(context.inputs[0], context.inputs[0].dtype(), Sign{});
          },
  };
  return def;
}

}  // namespace lathe::op
