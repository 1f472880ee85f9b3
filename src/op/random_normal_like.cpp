// Random numbers with a normal distribution in a tensor of another's shape.
#include "op/random.h"

namespace lathe::op {
const OpDef& random_normal_like_op() {
  static const OpDef def{
      .name = "RandomNormalLike",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"dtype", AttributeKind::integer},
                     {"mean", AttributeKind::real},
                     {"scale", AttributeKind::real},
                     {"seed", AttributeKind::real}},
      .infer = infer_random_like,
      .evaluate =
          [](EvaluateContext& context) {
            const Attributes& attributes = context.attributes;
            const tensor::Tensor& like = context.inputs[0];
            context.outputs[0] = draw_normal(attributes, drawn_dtype(attributes, like.dtype()), like.dims());
          },
  };
  return def;
}

}  // namespace lathe::op
