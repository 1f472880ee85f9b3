// The sum over the axes; of nothing, 0.
#include "op/elementwise.h"
#include "op/reduce.h"

namespace lathe::op {

const OpDef& reduce_sum_op() {
  static const OpDef def = reduce_def(
      "ReduceSum",
      [](InferContext& context) {
        infer_reduce(context, kFloat | kInteger);
        const auto data = known_dims(context, 0);
        if (!data || context.input(0).shape.size() != 1 || context.outputs[0].shape.size() > 1) return;
        if (context.outputs[0].shape == context.input(0).shape && data->size() != 1)
          return;  // nothing reduced
        tensor::Dim total(0);
        for (const tensor::Dim& dim : *data) total = total + dim;
        set_elements(context.outputs[0], std::vector{total});
      },
      [](EvaluateContext& context) {
        evaluate_reduce(
            context, [](auto, tensor::DType) { return 0; }, WrappingAdd{},
            [](auto total, int64_t) { return total; });
      },
      13);
  return def;
}

}  // namespace lathe::op
