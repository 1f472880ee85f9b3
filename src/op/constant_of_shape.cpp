// A tensor of a given shape, every element the one of `value` (default f32 0).
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

tensor::Tensor fill_value(const Attributes& attributes) {
  const tensor::Tensor* value = attributes.find_tensor("value");
  return value ? *value : tensor::Tensor::scalar(0.0f);
}

void infer_constant_of_shape(InferContext& context) {
  require_dtype(context, 0, tensor::DType::i64);
  require_rank(context, 0, 1);
  const tensor::Tensor value = fill_value(context.attributes);
  if (value.size() != 1) bad(context, "value: expected one element, found {}", value.size());
  TypeInfo& out = context.outputs[0];
  out = {value.dtype(), {}, std::nullopt};
  if (const auto dims = known_dims(context, 0)) {
    out.shape = *dims;
    for (const tensor::Dim& dim : *dims) {
      if (dim.constant().value_or(0) < 0) bad(context, "a dimension is {}", dim.to_string());
    }
  } else {
    out = unknown_lengths(context, value.dtype(), list_length(context, 0));
    if (!out.ranked) return;
  }
  const auto count = tensor::element_count(out.shape).constant();
  if (!count || *count > kMaxElements || !(set_of(value.dtype()) & kInteger)) return;
  set_elements(out, std::vector<tensor::Dim>(size_t(*count), tensor::Dim(load<int64_t>(value)[0])));
}

void evaluate_constant_of_shape(EvaluateContext& context) {
  const tensor::Tensor value = fill_value(context.attributes);
  context.outputs[0] = take(value, load<int64_t>(context.inputs[0]), [] { return 0; });
}

}  // namespace

const OpDef& constant_of_shape_op() {
  static const OpDef def{
      .name = "ConstantOfShape",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"value", AttributeKind::tensor}},
      .infer = infer_constant_of_shape,
      .evaluate = evaluate_constant_of_shape,
  };
  return def;
}

}  // namespace lathe::op
