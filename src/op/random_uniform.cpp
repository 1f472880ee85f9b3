// Random numbers, evenly spread over [low, high), in a tensor of a given shape.
#include "op/random.h"

namespace lathe::op {
const OpDef& random_uniform_op() {
  static const OpDef def{
      .name = "RandomUniform",
      .min_inputs = 0,
      .max_inputs = 0,
      .attributes = {{"dtype", AttributeKind::integer},
                     {"high", AttributeKind::real},
                     {"low", AttributeKind::real},
                     {"seed", AttributeKind::real},
                     {"shape", AttributeKind::integers, true}},
      .infer = infer_random,
      .evaluate =
          [](EvaluateContext& context) {
            const Attributes& attributes = context.attributes;
            context.outputs[0] =
                draw_uniform(attributes, drawn_dtype(attributes, tensor::DType::f32), *attributes.find_ints("shape"));
          },
  };
  return def;
}

}  // namespace lathe::op
