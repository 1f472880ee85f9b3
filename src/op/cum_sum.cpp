// Running sums along an axis; `exclusive` leaves the element itself out, `reverse` starts from the end.
#include "op/cumulative.h"

namespace lathe::op {

const OpDef& cum_sum_op() {
  static const OpDef def{
      .name = "CumSum",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"exclusive", AttributeKind::integer}, {"reverse", AttributeKind::integer}},
      .infer = infer_cumulative,
      .evaluate = [](EvaluateContext& context) { evaluate_cumulative(context, 0, WrappingAdd{}); },
  };
  return def;
}

}  // namespace lathe::op
