// Tensors end to end along one axis.
#include "op/copy_region.h"
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_concat(InferContext& context) {
  const TypeInfo& first = require(context, 0, kAny);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), first.shape.size());
  tensor::Shape shape = first.shape;
  auto elements = known_dims(context, 0);
  for (size_t i = 1; i < context.inputs.size(); ++i) {
    const TypeInfo& next = context.input(i);
    require_same_dtype(context, 0, i);
    require_rank(context, i, shape.size());
    for (size_t d = 0; d < shape.size(); ++d) {
      if (d == axis) {
        shape[d] = shape[d] + next.shape[d];
      } else {
        require_dims_agree(context, fmt::format("dimension {} of input {}", d, i), shape[d], next.shape[d]);
        if (next.shape[d].is_constant()) shape[d] = next.shape[d];
      }
    }
    const auto more = known_dims(context, i);
    if (!more) elements.reset();
    if (elements) elements->insert(elements->end(), more->begin(), more->end());
  }
  context.outputs[0] = {first.dtype, std::move(shape), std::nullopt};
  set_elements(context.outputs[0], std::move(elements));
}

void evaluate_concat(EvaluateContext& context) {
  tensor::Dims dims = context.inputs[0].dims();
  const size_t axis = axis_index(context.attributes.get_int("axis", 0), context.inputs[0].rank());
  dims[axis] = 0;
  for (const tensor::Tensor& input : context.inputs) dims[axis] += input.dims()[axis];
  tensor::Tensor result(context.inputs[0].dtype(), dims);
  Placement place{contiguous_strides(dims)};
  for (const tensor::Tensor& input : context.inputs) {
    copy_region(input.dims(), input, {contiguous_strides(input.dims())}, result, place);
    place.start += input.dims()[axis] * place.strides[axis];
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& concat_op() {
  static const OpDef def{
      .name = "Concat",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .attributes = {{"axis", AttributeKind::integer, true}},
      .infer = infer_concat,
      .evaluate = evaluate_concat,
  };
  return def;
}

}  // namespace lathe::op
