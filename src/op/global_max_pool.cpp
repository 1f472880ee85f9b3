// The largest element of each channel.
#include <cmath>

#include "op/elementwise.h"
#include "op/pooling.h"

namespace lathe::op {
namespace {

void infer_global_max_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  context.outputs[0] = {x.dtype, infer_global_pool(context), std::nullopt};
}

void evaluate_global_max_pool(EvaluateContext& context) {
  evaluate_global_pool(context, [](std::span<const double> channel) {
    double best = -INFINITY;
    for (const double value : channel) best = NanMax()(value, best);
    return best;
  });
}

}  // namespace

const OpDef& global_max_pool_op() {
  static const OpDef def{
      .name = "GlobalMaxPool",
      .min_inputs = 1,
      .max_inputs = 1,
      .infer = infer_global_max_pool,
      .evaluate = evaluate_global_max_pool,
  };
  return def;
}

}  // namespace lathe::op
