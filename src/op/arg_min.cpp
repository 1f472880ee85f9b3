// Where along an axis the smallest element is: the first such place, or the last; NaN counts as smallest.
#include <cmath>

#include "op/arg_reduce.h"

namespace lathe::op {

const OpDef& arg_min_op() {
  static const OpDef def{
      .name = "ArgMin",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = arg_attributes(),
      .infer = infer_arg,
      .evaluate =
          [](EvaluateContext& context) {
            evaluate_arg(context, [](auto a, auto b) {
              return a < b || (std::isnan(double(a)) && !std::isnan(double(b)));
            });
          },
  };
  return def;
}

}  // namespace lathe::op
