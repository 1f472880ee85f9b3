// The largest over the axes, NaN first; of nothing, the lowest value of the type.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_max_op() {
  static const OpDef def = reduce_def(
      "ReduceMax", [](InferContext& context) { infer_reduce(context, kFloat | kInteger | kBool); },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto zero, tensor::DType dtype) { return lowest_value(zero, dtype); }, NanMax{},
            [](auto total, int64_t) { return total; });
      });
  return def;
}

}  // namespace lathe::op
