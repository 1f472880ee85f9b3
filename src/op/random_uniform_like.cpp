// Random numbers, evenly spread over [low, high), in a tensor of another's shape.
#include "op/random.h"

namespace lathe::op {
const OpDef& random_uniform_like_op() {
  static const OpDef def{
      .name = "RandomUniformLike",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"dtype", AttributeKind::integer},
                     {"high", AttributeKind::real},
                     {"low", AttributeKind::real},
                     {"seed", AttributeKind::real}},
      .infer = infer_random_like,
      .evaluate =
          [](EvaluateContext& context) {
            const Attributes& attributes = context.attributes;
            const tensor::Tensor& like = context.inputs[0];
            context.outputs[0] = draw_uniform(attributes, drawn_dtype(attributes, like.dtype()), like.dims());
          },
  };
  return def;
}

}  // namespace lathe::op
