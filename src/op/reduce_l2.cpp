// The square root of the sum of the squares over the axes; of nothing, 0. Of integers, cut to a whole number.
#include <cmath>

#include "op/reduce_groups.h"

namespace lathe::op {

const OpDef& reduce_l2_op() {
  static const OpDef def = reduce_def(
      "ReduceL2", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) {
        evaluate_groups(context, [](std::span<const double> group) {
          double sum = 0;
          for (const double x : group) sum += x * x;
          return std::sqrt(sum);
        });
      });
  return def;
}

}  // namespace lathe::op
