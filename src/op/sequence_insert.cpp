// A sequence with a tensor inserted before a position, at the end by default.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void infer(InferContext& context) {
  const tensor::DType sequence = require_sequence(context, 0).dtype;
  const tensor::DType item = context.input(1).dtype;
  const bool both_known = sequence != tensor::DType::undefined && item != tensor::DType::undefined;
  if (both_known && sequence != item) {
    bad(context, "a tensor of {} into a sequence of {}", to_string(item), to_string(sequence));
  }
  context.outputs[0] = TypeInfo::sequence(sequence == tensor::DType::undefined ? item : sequence);
}

void evaluate(DataContext& context) {
  std::vector<tensor::Tensor> items = context.inputs[0].items();
  const tensor::Tensor& item = context.inputs[1].tensor();
  if (!items.empty() && items[0].dtype() != item.dtype()) {
    fail(ErrorCode::invalid_input, "a tensor of {} into a sequence of {}", to_string(item.dtype()),
         to_string(items[0].dtype()));
  }
  const size_t at = context.has_input(2) ? position_of(context.inputs[2], items.size(), true) : items.size();
  items.insert(items.begin() + std::ptrdiff_t(at), item);
  context.outputs[0] = Datum::sequence(std::move(items));
}

}  // namespace

const OpDef& sequence_insert_op() {
  static const OpDef def{.name = "SequenceInsert",
                         .min_inputs = 2,
                         .max_inputs = 3,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
