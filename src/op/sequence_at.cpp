// The tensor at a position of a sequence; negative positions count from the end.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void infer(InferContext& context) {
  context.outputs[0] = TypeInfo::unranked(require_sequence(context, 0).dtype);
}

void evaluate(DataContext& context) {
  const auto& items = context.inputs[0].items();
  context.outputs[0] = items[position_of(context.inputs[1], items.size())];
}

}  // namespace

const OpDef& sequence_at_op() {
  static const OpDef def{.name = "SequenceAt",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
