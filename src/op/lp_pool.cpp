// The p-norm of each window: (sum |x|^p)^(1/p).
#include <cmath>

#include "op/pooling.h"

namespace lathe::op {
namespace {

void infer_lp_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  read_norm(context.op, context.attributes);
  context.outputs[0] = {x.dtype, infer_pool(context), std::nullopt};
}

void evaluate_lp_pool(EvaluateContext& context) {
  const double p = double(read_norm("LpPool", context.attributes));
  evaluate_pool("LpPool", context, [&](const double* channel, std::span<const Tap> taps, int64_t) {
    double sum = 0;
    for (const Tap& tap : taps) sum += std::pow(std::abs(channel[tap.input]), p);
    return std::pow(sum, 1 / p);
  });
}

}  // namespace

const OpDef& lp_pool_op() {
  static const OpDef def{
      .name = "LpPool",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"ceil_mode", AttributeKind::integer, false, 18},
                     {"dilations", AttributeKind::integers, false, 18},
                     {"kernel_shape", AttributeKind::integers, true},
                     {"p", AttributeKind::integer},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_lp_pool,
      .evaluate = evaluate_lp_pool,
  };
  return def;
}

}  // namespace lathe::op
