// The smallest over the axes, NaN first; of nothing, the highest value of the type.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_min_op() {
  static const OpDef def = reduce_def(
      "ReduceMin", [](InferContext& context) { infer_reduce(context, kFloat | kInteger | kBool); },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto zero, tensor::DType dtype) { return highest_value(zero, dtype); }, NanMin{},
            [](auto total, int64_t) { return total; });
      });
  return def;
}

}  // namespace lathe::op
