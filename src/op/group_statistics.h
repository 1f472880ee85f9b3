// Normalisation of groups of channels of each image, which instance and group normalisation share.
#pragma once

#include "op/normalization.h"

namespace lathe::op {

// Checks x (input 0) [batch, channels, spatial...] and scale and bias [channels], all of one dtype; sets output 0.
void infer_group_statistics(InferContext& context);
// Output 0: each of `groups` runs of channels of each image with mean 0 and variance 1, times scale plus bias.
void normalize_groups(EvaluateContext& context, int64_t groups);

}  // namespace lathe::op
