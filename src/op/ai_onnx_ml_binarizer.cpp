// 1 where x is above the threshold, 0 elsewhere.
#include "op/elementwise.h"
#include "op/ml.h"

namespace lathe::op {
const OpDef& ai_onnx_ml_binarizer_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.Binarizer",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"threshold", AttributeKind::real}},
      .elementwise = true,
      .infer = [](InferContext& context) { infer_unary(context, kFeatures); },
      .evaluate =
          [](EvaluateContext& context) {
            const tensor::Tensor& x = context.inputs[0];
            const double threshold = context.attributes.get_float("threshold", 0);
            context.outputs[0] = map(x, x.dtype(), [&](auto value) { return double(value) > threshold; });
          },
  };
  return def;
}

}  // namespace lathe::op
