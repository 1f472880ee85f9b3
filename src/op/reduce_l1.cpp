// The sum of the magnitudes over the axes; of nothing, 0.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_l1_op() {
  static const OpDef def = reduce_def(
      "ReduceL1", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto, tensor::DType) { return 0; },
            [](auto total, auto x) { return x < 0 ? WrappingSubtract{}(total, x) : WrappingAdd{}(total, x); },
            [](auto total, int64_t) { return total; });
      });
  return def;
}

}  // namespace lathe::op
