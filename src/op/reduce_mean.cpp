// The mean over the axes: NaN of no floats; integers truncate, and no integers give 0.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_mean_op() {
  static const OpDef def = reduce_def(
      "ReduceMean", [](InferContext& context) { infer_reduce(context, kFloat | kInteger); },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto, tensor::DType) { return 0; }, WrappingAdd{},
            [](auto total, int64_t count) {
              using V = decltype(total);
              if (count == 0 && !std::is_same_v<V, double>) return V{0};
              return V(total / V(count));
            });
      });
  return def;
}

}  // namespace lathe::op
