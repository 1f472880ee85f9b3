// The sum of all inputs, broadcast, for Sum and Mean.
#pragma once

#include "op/op.h"

namespace lathe::op {

// Output 0: the inputs' sum in double over `divisor`, rounded once.
void evaluate_sum(EvaluateContext& context, double divisor);

}  // namespace lathe::op
