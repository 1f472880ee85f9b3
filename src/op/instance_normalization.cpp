// Each channel of each image with mean 0 and variance 1, times scale plus bias. Rounded once.
#include "op/group_statistics.h"

namespace lathe::op {

const OpDef& instance_normalization_op() {
  static const OpDef def{
      .name = "InstanceNormalization",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"epsilon", AttributeKind::real}},
      .infer = infer_group_statistics,
      .evaluate = [](EvaluateContext& context) { normalize_groups(context, context.inputs[0].dims()[1]); },
  };
  return def;
}

}  // namespace lathe::op
