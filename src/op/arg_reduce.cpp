#include "op/arg_reduce.h"

namespace lathe::op {

std::vector<AttributeSpec> arg_attributes() {
  return {{"axis", AttributeKind::integer},
          {"keepdims", AttributeKind::integer},
          {"select_last_index", AttributeKind::integer}};
}

void infer_arg(InferContext& context) {
  const TypeInfo& data = require(context, 0, kNumeric);
  const size_t axis = axis_index(context, context.attributes.get_int("axis", 0), data.shape.size());
  tensor::Shape shape = data.shape;
  if (context.attributes.get_int("keepdims", 1) != 0)
    shape[axis] = tensor::Dim(1);
  else
    shape.erase(shape.begin() + std::ptrdiff_t(axis));
  context.outputs[0] = {tensor::DType::i64, std::move(shape), std::nullopt};
}

tensor::Dims arg_dims(const EvaluateContext& context, size_t axis) {
  tensor::Dims dims = context.inputs[0].dims();
  if (context.attributes.get_int("keepdims", 1) != 0)
    dims[axis] = 1;
  else
    dims.erase(dims.begin() + std::ptrdiff_t(axis));
  return dims;
}

}  // namespace lathe::op
