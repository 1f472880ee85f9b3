// Tensors as a sequence.
#include "op/sequences.h"

namespace lathe::op {
namespace {

void infer(InferContext& context) {
  const TypeInfo& first = context.input(0);
  for (size_t i = 1; i < context.inputs.size(); ++i) require_same_dtype(context, 0, i);
  context.outputs[0] = TypeInfo::sequence(first.dtype);
}

void evaluate(DataContext& context) {
  std::vector<tensor::Tensor> items;
  for (const Datum& input : context.inputs) {
    items.push_back(input.tensor());
    if (items.back().dtype() != items[0].dtype()) fail(ErrorCode::invalid_input, "tensors of two dtypes");
  }
  context.outputs[0] = Datum::sequence(std::move(items));
}

}  // namespace

const OpDef& sequence_construct_op() {
  static const OpDef def{.name = "SequenceConstruct",
                         .min_inputs = 1,
                         .max_inputs = kVariadic,
                         .infers_any = true,
                         .infer = infer,
                         .evaluate_data = evaluate};
  return def;
}

}  // namespace lathe::op
