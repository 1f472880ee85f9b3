// The tensors of a sequence joined along an axis, or stacked along a new one.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void evaluate(DataContext& context) {
  std::vector<tensor::Tensor> items = context.inputs[0].items();
  if (items.empty()) fail(ErrorCode::invalid_input, "the sequence is empty");
  const int64_t axis = *context.attributes.find_int("axis");
  if (context.attributes.get_int("new_axis", 0) != 0) {
    context.outputs[0] = stacked(std::move(items), axis);
  } else {
    context.outputs[0] = op::evaluate(get_op("Concat"), std::move(items), {{"axis", axis}})[0];
  }
}

}  // namespace

const OpDef& concat_from_sequence_op() {
  static const OpDef def{
      .name = "ConcatFromSequence",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer, true}, {"new_axis", AttributeKind::integer}},
      .infers_any = true,
      .infer =
          [](InferContext& context) { context.outputs[0] = TypeInfo::unranked(require_sequence(context, 0).dtype); },
      .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
