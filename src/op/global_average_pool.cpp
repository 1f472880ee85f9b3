// The mean of each channel.
#include "op/pooling.h"

namespace lathe::op {
namespace {

void infer_global_average_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  context.outputs[0] = {x.dtype, infer_global_pool(context), std::nullopt};
}

void evaluate_global_average_pool(EvaluateContext& context) {
  evaluate_global_pool(context, [](std::span<const double> channel) {
    double sum = 0;
    for (const double value : channel) sum += value;
    return sum / double(channel.size());
  });
}

}  // namespace

const OpDef& global_average_pool_op() {
  static const OpDef def{
      .name = "GlobalAveragePool",
      .min_inputs = 1,
      .max_inputs = 1,
      .infer = infer_global_average_pool,
      .evaluate = evaluate_global_average_pool,
  };
  return def;
}

}  // namespace lathe::op
