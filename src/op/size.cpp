// How many elements a tensor has.
#include "op/inference.h"

namespace lathe::op {

const OpDef& size_op() {
  static const OpDef def{
      .name = "Size",
      .min_inputs = 1,
      .max_inputs = 1,
      .infer =
          [](InferContext& context) {
            const tensor::Dim count = tensor::element_count(require(context, 0, kAny).shape);
            context.outputs[0] = {tensor::DType::i64, {}, std::vector{count}};
          },
      .evaluate =
          [](EvaluateContext& context) {
            context.outputs[0] = tensor::Tensor::scalar(context.inputs[0].size());
          },
  };
  return def;
}

}  // namespace lathe::op
