// Each group of channels of each image with mean 0 and variance 1, times scale plus bias for each channel. Computed
// in double and rounded once, whatever the stash type.
#include "op/group_statistics.h"

namespace lathe::op {
namespace {

void infer_group_normalization(InferContext& context) {
  infer_group_statistics(context);
  const int64_t groups = context.attributes.find_int("num_groups").value();
  const auto channels = context.input(0).shape[1].constant();
  if (groups < 1 || (channels && *channels % groups != 0)) {
    bad(context, "{} channels in {} groups", context.input(0).shape[1].to_string(), groups);
  }
  const int64_t stash = context.attributes.get_int("stash_type", 1);
  if (stash != 1 && stash != 10 && stash != 11 && stash != 16) bad(context, "stash_type is {}", stash);
}

}  // namespace

const OpDef& group_normalization_op() {
  static const OpDef def{
      .name = "GroupNormalization",
      .min_inputs = 3,
      .max_inputs = 3,
      .attributes = {{"epsilon", AttributeKind::real},
                     {"num_groups", AttributeKind::integer, true},
                     {"stash_type", AttributeKind::integer, false, 21}},
      .since = 18,
      .infer = infer_group_normalization,
      .evaluate =
          [](EvaluateContext& context) {
            normalize_groups(context, context.attributes.find_int("num_groups").value());
          },
  };
  return def;
}

}  // namespace lathe::op
