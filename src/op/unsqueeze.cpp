// Inserts dimensions of length 1, so that they stand at `axes` of the result.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_unsqueeze(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  require_dtype(context, 1, tensor::DType::i64);
  const auto axes = known_ints(context, 1);
  if (!axes) {  // their number may be known: it gives the rank
    auto rank = list_length(context, 1);
    if (rank) rank = *rank + int64_t(data.shape.size());
    context.outputs[0] = unknown_lengths(context, data.dtype, rank);
    return;
  }
  const size_t rank = data.shape.size() + axes->size();
  std::vector<bool> inserted(rank);
  for (const int64_t axis : *axes) {
    const size_t index = axis_index(context, axis, rank);
    if (inserted[index]) bad(context, "axis {} is named twice", index);
    inserted[index] = true;
  }
  tensor::Shape shape;
  size_t next = 0;
  for (size_t i = 0; i < rank; ++i) shape.push_back(inserted[i] ? tensor::Dim(1) : data.shape[next++]);
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  set_elements(context.outputs[0], known_dims(context, 0));
}

void evaluate_unsqueeze(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> axes = load<int64_t>(context.inputs[1]);
  const int rank = data.rank() + int(axes.size());
  std::vector<bool> inserted(static_cast<size_t>(rank));
  for (const int64_t axis : axes) inserted[axis_index(axis, rank)] = true;
  tensor::Dims dims;
  size_t next = 0;
  for (const bool one : inserted) dims.push_back(one ? 1 : data.dims()[next++]);
  context.outputs[0] = data.reshaped(std::move(dims));
}

}  // namespace

const OpDef& unsqueeze_op() {
  static const OpDef def{.name = "Unsqueeze",
                         .min_inputs = 2,
                         .max_inputs = 2,
                         .infer = infer_unsqueeze,
                         .evaluate = evaluate_unsqueeze};
  return def;
}

}  // namespace lathe::op
