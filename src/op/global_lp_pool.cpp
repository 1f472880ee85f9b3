// The p-norm of each channel: (sum |x|^p)^(1/p).
#include <cmath>

#include "op/pooling.h"

namespace lathe::op {
namespace {

void infer_global_lp_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  read_norm(context.op, context.attributes);
  context.outputs[0] = {x.dtype, infer_global_pool(context), std::nullopt};
}

void evaluate_global_lp_pool(EvaluateContext& context) {
  const double p = double(read_norm("GlobalLpPool", context.attributes));
  evaluate_global_pool(context, [&](std::span<const double> channel) {
    double sum = 0;
    for (const double value : channel) sum += std::pow(std::abs(value), p);
    return std::pow(sum, 1 / p);
  });
}

}  // namespace

const OpDef& global_lp_pool_op() {
  static const OpDef def{
      .name = "GlobalLpPool",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"p", AttributeKind::integer}},
      .infer = infer_global_lp_pool,
      .evaluate = evaluate_global_lp_pool,
  };
  return def;
}

}  // namespace lathe::op
