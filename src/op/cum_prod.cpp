// Running products along an axis; `exclusive` leaves the element itself out, `reverse` starts from the end.
#include "op/cumulative.h"

namespace lathe::op {

const OpDef& cum_prod_op() {
  static const OpDef def{
      .name = "CumProd",
      .min_inputs = 2,
      .max_inputs = 2,
      .attributes = {{"exclusive", AttributeKind::integer}, {"reverse", AttributeKind::integer}},
      .since = 26,
      .infer = infer_cumulative,
      .evaluate = [](EvaluateContext& context) { evaluate_cumulative(context, 1, WrappingMultiply{}); },
  };
  return def;
}

}  // namespace lathe::op
