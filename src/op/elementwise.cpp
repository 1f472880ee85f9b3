#include "op/elementwise.h"

namespace lathe::op {
namespace {

tensor::Shape broadcast_inputs(const InferContext& context, size_t count, DTypeSet allowed) {
  tensor::Shape shape = require(context, 0, allowed).shape;
  for (size_t i = 1; i < count; ++i) {
    require(context, i, allowed);
    require_same_dtype(context, 0, i);
    shape = with_context(context.op, [&] { return tensor::broadcast(shape, context.input(i).shape); });
  }
  return shape;
}

}  // namespace

void infer_unary(InferContext& context, DTypeSet allowed) {
  const TypeInfo& x = require(context, 0, allowed);
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
}

void infer_binary(InferContext& context, DTypeSet allowed) {
  tensor::Shape shape = broadcast_inputs(context, 2, allowed);
  context.outputs[0] = {context.input(0).dtype, std::move(shape), std::nullopt};
}

void infer_compare(InferContext& context, DTypeSet allowed) {
  context.outputs[0] = {tensor::DType::boolean, broadcast_inputs(context, 2, allowed), std::nullopt};
}

void infer_variadic(InferContext& context, DTypeSet allowed) {
  tensor::Shape shape = broadcast_inputs(context, context.inputs.size(), allowed);
  context.outputs[0] = {context.input(0).dtype, std::move(shape), std::nullopt};
}

}  // namespace lathe::op
