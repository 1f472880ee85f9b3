// A sequence without the tensor at a position, the last by default.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void evaluate(DataContext& context) {
  std::vector<tensor::Tensor> items = context.inputs[0].items();
  if (items.empty()) fail(ErrorCode::invalid_input, "the sequence is empty");
  const size_t at = context.has_input(1) ? position_of(context.inputs[1], items.size()) : items.size() - 1;
  items.erase(items.begin() + std::ptrdiff_t(at));
  context.outputs[0] = Datum::sequence(std::move(items));
}

}  // namespace

const OpDef& sequence_erase_op() {
  static const OpDef def{
      .name = "SequenceErase",
      .min_inputs = 1,
      .max_inputs = 2,
      .infers_any = true,
      .infer =
          [](InferContext& context) { context.outputs[0] = TypeInfo::sequence(require_sequence(context, 0).dtype); },
      .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
