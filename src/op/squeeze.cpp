// Removes dimensions of length 1: those in `axes`, or all.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_squeeze(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const size_t rank = data.shape.size();
  std::vector<bool> removed(rank);
  if (context.has_input(1)) {
    require_dtype(context, 1, tensor::DType::i64);
    const auto axes = known_ints(context, 1);
    if (!axes) {
      auto left = list_length(context, 1);
      if (left) left = int64_t(rank) - *left;
      context.outputs[0] = unknown_lengths(context, data.dtype, left);
      return;
    }
    for (const int64_t axis : *axes) {
      const size_t index = axis_index(context, axis, rank);
      require_dims_agree(context, "squeezed dimension", data.shape[index], tensor::Dim(1));
      removed[index] = true;
    }
  } else {
    for (size_t i = 0; i < rank; ++i) {
      const auto length = data.shape[i].constant();
      if (!length) {  // it may be 1 when it comes to it
        context.outputs[0] = TypeInfo::unranked(data.dtype);
        return;
      }
      removed[i] = *length == 1;
    }
  }
  tensor::Shape shape;
  for (size_t i = 0; i < rank; ++i) {
    if (!removed[i]) shape.push_back(data.shape[i]);
  }
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  set_elements(context.outputs[0], known_dims(context, 0));
}

void evaluate_squeeze(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  std::vector<bool> removed(size_t(data.rank()));
  if (context.has_input(1)) {
    for (const int64_t axis : load<int64_t>(context.inputs[1])) removed[axis_index(axis, data.rank())] = true;
  } else {
    for (size_t i = 0; i < removed.size(); ++i) removed[i] = data.dims()[i] == 1;
  }
  tensor::Dims dims;
  for (size_t i = 0; i < removed.size(); ++i) {
    if (!removed[i]) dims.push_back(data.dims()[i]);
  }
  context.outputs[0] = data.reshaped(std::move(dims));
}

}  // namespace

const OpDef& squeeze_op() {
  static const OpDef def{.name = "Squeeze",
                         .min_inputs = 1,
                         .max_inputs = 2,
                         .infer = infer_squeeze,
                         .evaluate = evaluate_squeeze};
  return def;
}

}  // namespace lathe::op
