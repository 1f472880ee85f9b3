// The mean of each window; padding counts as zeros with count_include_pad, else not at all.
#include "op/pooling.h"

namespace lathe::op {
namespace {

void infer_average_pool(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  context.outputs[0] = {x.dtype, infer_pool(context), std::nullopt};
}

void evaluate_average_pool(EvaluateContext& context) {
  const bool include_pad = context.attributes.get_int("count_include_pad", 0) != 0;
  evaluate_pool("AveragePool", context, [&](const double* channel, std::span<const Tap> taps, int64_t padded) {
    double sum = 0;
    for (const Tap& tap : taps) sum += channel[tap.input];
    return sum / double(include_pad ? padded : int64_t(taps.size()));
  });
}

}  // namespace

const OpDef& average_pool_op() {
  static const OpDef def{
      .name = "AveragePool",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"auto_pad", AttributeKind::string},
                     {"ceil_mode", AttributeKind::integer},
                     {"count_include_pad", AttributeKind::integer},
                     {"dilations", AttributeKind::integers, false, 19},
                     {"kernel_shape", AttributeKind::integers, true},
                     {"pads", AttributeKind::integers},
                     {"strides", AttributeKind::integers}},
      .infer = infer_average_pool,
      .evaluate = evaluate_average_pool,
  };
  return def;
}

}  // namespace lathe::op
