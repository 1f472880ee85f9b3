// The logarithm of the sum of e^x over the axes; of nothing, minus infinity.
#include <cmath>
#include <limits>

#include "op/elementwise.h"
#include "op/reduce_groups.h"

namespace lathe::op {
namespace {

// The largest is taken out of the sum, so that no power overflows.
double log_sum_exp(std::span<const double> group) {
  double largest = -std::numeric_limits<double>::infinity();
  for (const double x : group) largest = NanMax{}(largest, x);
  if (!std::isfinite(largest)) return largest;
  double sum = 0;
  for (const double x : group) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

}  // namespace

const OpDef& reduce_log_sum_exp_op() {
  static const OpDef def = reduce_def(
      "ReduceLogSumExp", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) { evaluate_groups(context, log_sum_exp); });
  return def;
}

}  // namespace lathe::op
