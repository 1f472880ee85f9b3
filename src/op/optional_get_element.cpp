// What an optional holds; an error when it holds nothing.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void infer(InferContext& context) {
  const TypeInfo& input = context.input(0);
  switch (input.form) {
    case Form::optional_tensor:
      context.outputs[0] = TypeInfo::unranked(input.dtype);
      break;
    case Form::optional_sequence:
      context.outputs[0] = TypeInfo::sequence(input.dtype);
      break;
    default:
      context.outputs[0] = input;
  }
}

void evaluate(DataContext& context) {
  if (!context.has_input(0)) fail(ErrorCode::invalid_input, "the optional holds nothing");
  context.outputs[0] = context.inputs[0];
}

}  // namespace

const OpDef& optional_get_element_op() {
  static const OpDef def{.name = "OptionalGetElement",
                         .min_inputs = 1,
                         .max_inputs = 1,
                         .since = 15,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
