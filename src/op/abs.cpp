// |x|.
#include <cmath>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

struct Magnitude {
  double operator()(double x) const { return std::fabs(x); }
  int64_t operator()(int64_t x) const { return x < 0 ? int64_t(0 - uint64_t(x)) : x; }
  uint64_t operator()(uint64_t x) const { return x; }
};

}  // namespace

const OpDef& abs_op() {
  static const OpDef def{
      .name = "Abs",
      .min_inputs = 1,
      .max_inputs = 1,
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kNumeric); },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] = map(context.inputs[0], context.inputs[0].dtype(), Magnitude{});
          },
  };
  return def;
}

}  // namespace lathe::op
