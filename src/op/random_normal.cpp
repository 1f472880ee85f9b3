// Random numbers with a normal distribution in a tensor of a given shape.
#include "op/random.h"

namespace lathe::op {
const OpDef& random_normal_op() {
  static const OpDef def{
      .name = "RandomNormal",
      .min_inputs = 0,
      .max_inputs = 0,
      .attributes = {{"dtype", AttributeKind::integer},
                     {"mean", AttributeKind::real},
                     {"scale", AttributeKind::real},
                     {"seed", AttributeKind::real},
                     {"shape", AttributeKind::integers, true}},
      .infer = infer_random,
      .evaluate =
          [](EvaluateContext& context) {
            const Attributes& attributes = context.attributes;
            context.outputs[0] =
                draw_normal(attributes, drawn_dtype(attributes, tensor::DType::f32), *attributes.find_ints("shape"));
          },
  };
  return def;
}

}  // namespace lathe::op
