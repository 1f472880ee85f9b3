// Whether an optional holds something; an input that is left out holds nothing.
#include "op/sequences.h"

namespace lathe::op {

const OpDef& optional_has_element_op() {
  static const OpDef def{
      .name = "OptionalHasElement",
      .min_inputs = 0,
      .max_inputs = 1,
      .since = 15,
      .infers_any = true,
      .infer = [](InferContext& context) { context.outputs[0] = {tensor::DType::boolean, {}}; },
      .evaluate_data = [](DataContext& context) { context.outputs[0] = tensor::Tensor::scalar(context.has_input(0)); }};
  return def;
}

}  // namespace lathe::op
