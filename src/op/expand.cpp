// The input broadcast with a shape; a 1 in that shape leaves the input's dimension.
#include <algorithm>

#include "op/copy_region.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_expand(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  require_dtype(context, 1, tensor::DType::i64);
  require_rank(context, 1, 1);
  tensor::Shape shape;
  if (const auto target = known_dims(context, 1)) {
    for (const tensor::Dim& dim : *target) {
      if (dim.constant().value_or(0) < 0) bad(context, "a dimension is {}", dim.to_string());
    }
    shape = with_context("Expand", [&] { return tensor::broadcast(data.shape, *target); });
  } else {
    auto rank = list_length(context, 1);
    if (rank) rank = std::max(*rank, int64_t(data.shape.size()));
    context.outputs[0] = unknown_lengths(context, data.dtype, rank);
    return;
  }
  context.outputs[0] = {data.dtype, std::move(shape), std::nullopt};
  const auto elements = known_dims(context, 0);
  const tensor::Shape& out = context.outputs[0].shape;
  if (elements && elements->size() == 1 && out.size() == 1 &&
      out[0].constant().value_or(kMaxElements) < kMaxElements) {
    set_elements(context.outputs[0], std::vector<tensor::Dim>(size_t(out[0].value()), elements->front()));
  }
}

void evaluate_expand(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const std::vector<int64_t> target = load<int64_t>(context.inputs[1]);
  tensor::Dims dims = broadcast_dims(data.dims(), target);
  tensor::Dims strides = broadcast_strides(data.dims(), dims);
  context.outputs[0] = take_region(data, std::move(dims), {std::move(strides)});
}

}  // namespace

const OpDef& expand_op() {
  static const OpDef def{
      .name = "Expand", .min_inputs = 2, .max_inputs = 2, .infer = infer_expand, .evaluate = evaluate_expand};
  return def;
}

}  // namespace lathe::op
