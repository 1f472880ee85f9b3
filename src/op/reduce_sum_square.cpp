// The sum of the squares over the axes; of nothing, 0.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_sum_square_op() {
  static const OpDef def = reduce_def(
      "ReduceSumSquare", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto, tensor::DType) { return 0; },
            [](auto total, auto x) { return WrappingAdd{}(total, WrappingMultiply{}(x, x)); },
            [](auto total, int64_t) { return total; });
      });
  return def;
}

}  // namespace lathe::op
