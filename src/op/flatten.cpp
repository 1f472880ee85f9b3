// A matrix: dimensions before `axis` become rows, the others columns.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_flatten(InferContext& context) {
  const TypeInfo& data = require(context, 0, kAny);
  const int64_t rank = int64_t(data.shape.size());
  const int64_t axis = context.attributes.get_int("axis", 1);
  if (axis < -rank || axis > rank) bad(context, "axis {} is outside of rank {}", axis, rank);
  const auto split = data.shape.begin() + std::ptrdiff_t(axis < 0 ? axis + rank : axis);
  const tensor::Dim rows = tensor::element_count(tensor::Shape(data.shape.begin(), split));
  const tensor::Dim columns = tensor::element_count(tensor::Shape(split, data.shape.end()));
  context.outputs[0] = {data.dtype, {rows, columns}, std::nullopt};
}

void evaluate_flatten(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[0];
  const int64_t axis = context.attributes.get_int("axis", 1);
  const size_t split = axis_index(axis, data.rank());
  const int64_t rows = count_of(data.dims(), 0, split);
  const int64_t columns = count_of(data.dims(), split, data.dims().size());
  context.outputs[0] = data.reshaped({rows, columns});
}

}  // namespace

const OpDef& flatten_op() {
  static const OpDef def{
      .name = "Flatten",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"axis", AttributeKind::integer}},
      .infer = infer_flatten,
      .evaluate = evaluate_flatten,
  };
  return def;
}

}  // namespace lathe::op
