// The logarithm of the sum over the axes; of nothing, minus infinity.
#include <cmath>

#include "op/reduce_groups.h"

namespace lathe::op {

const OpDef& reduce_log_sum_op() {
  static const OpDef def = reduce_def(
      "ReduceLogSum", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) {
        evaluate_groups(context, [](std::span<const double> group) {
          double sum = 0;
          for (const double x : group) sum += x;
          return std::log(sum);
        });
      });
  return def;
}

}  // namespace lathe::op
