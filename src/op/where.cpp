// condition ? x : y, all three broadcast.
#include <utility>

#include "op/elementwise.h"

namespace lathe::op {
namespace {

void infer_where(InferContext& context) {
  const TypeInfo& condition = require_dtype(context, 0, tensor::DType::boolean);
  const TypeInfo& x = require(context, 1, kAny);
  const TypeInfo& y = require(context, 2, kAny);
  require_same_dtype(context, 1, 2);
  tensor::Shape shape = with_context(
      "Where", [&] { return tensor::broadcast(tensor::broadcast(condition.shape, x.shape), y.shape); });
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
  // The chain Where(Equal(shape, -1), ones, shape) before an Expand.
  const auto choice = known_ints(context, 0);
  const auto if_true = known_dims(context, 1);
  const auto if_false = known_dims(context, 2);
  if (!choice || !if_true || !if_false || choice->empty() || if_true->empty() || if_false->empty()) return;
  std::vector<tensor::Dim> elements;
  const size_t count = std::max({choice->size(), if_true->size(), if_false->size()});
  const auto at = [&](const auto& values, size_t i) { return values[values.size() == 1 ? 0 : i]; };
  for (const size_t size : {choice->size(), if_true->size(), if_false->size()}) {
    if (size != 1 && size != count) return;
  }
  for (size_t i = 0; i < count; ++i) elements.push_back(at(*choice, i) ? at(*if_true, i) : at(*if_false, i));
  set_elements(context.outputs[0], std::move(elements));
}

void evaluate_where(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[1];
  const tensor::Tensor& y = context.inputs[2];
  const tensor::Dims dims = broadcast_dims(broadcast_dims(context.inputs[0].dims(), x.dims()), y.dims());
  const auto condition = std::as_const(context.inputs[0]).data<bool>();
  Walk walk_condition(dims, broadcast_strides(context.inputs[0].dims(), dims));
  Walk walk_x(dims, broadcast_strides(x.dims(), dims));
  Walk walk_y(dims, broadcast_strides(y.dims(), dims));
  tensor::Tensor result(x.dtype(), dims);
  ElementCopier from_x(x, result);
  ElementCopier from_y(y, result);
  for (int64_t i = 0; i < result.size(); ++i) {
    const int64_t at_x = walk_x.next();
    const int64_t at_y = walk_y.next();
    if (condition[size_t(walk_condition.next())])
      from_x.copy(at_x, i);
    else
      from_y.copy(at_y, i);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& where_op() {
  static const OpDef def{
      .name = "Where", .min_inputs = 3, .max_inputs = 3, .infer = infer_where, .evaluate = evaluate_where};
  return def;
}

}  // namespace lathe::op
