// Each element replaced by the value that belongs to it as a key, or by a default.
#include "op/ml.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

// The attribute `prefix`_ints64s, _floats, _strings or _tensor, one of which there must be.
Tensor get_column(const Attributes& attributes, std::string_view prefix) {
  Tensor column;
  for (const char* kind : {"int64s", "floats", "strings", "tensor"}) {
    const std::string name = fmt::format("{}_{}", prefix, kind);
    if (!attributes.has(name)) continue;
    if (column.defined()) fail(ErrorCode::invalid_input, "LabelEncoder: more than one of {}_*", prefix);
    const Tensor* tensor = name.ends_with("tensor") ? attributes.find_tensor(name) : nullptr;
    column = tensor ? tensor->reshaped({tensor->size()}) : list_tensor(attributes, name);
  }
  if (!column.defined()) fail(ErrorCode::invalid_input, "LabelEncoder: no {}_*", prefix);
  return column;
}

// One element of the values' dtype.
Tensor get_default(const Attributes& attributes, DType dtype) {
  if (const Tensor* given = attributes.find_tensor("default_tensor")) {
    if (given->dtype() != dtype || given->size() != 1) {
      fail(ErrorCode::invalid_input, "LabelEncoder: default_tensor: expected one {}, found {} of {}",
           tensor::to_string(dtype), given->size(), tensor::to_string(given->dtype()));
    }
    return *given;
  }
  if (dtype == DType::string) return Tensor::of_strings({1}, {attributes.get_string("default_string", "_Unused")});
  if (tensor::is_float(dtype)) return store(dtype, {1}, std::vector{attributes.get_float("default_float", -0.0)});
  return store(dtype, {1}, std::vector<int64_t>{attributes.get_int("default_int64", -1)});
}

void infer_label_encoder(InferContext& context) {
  const TypeInfo& x = require(context, 0, kString | kF32 | kF64 | kSigned);
  const Tensor keys = get_column(context.attributes, "keys");
  const Tensor values = get_column(context.attributes, "values");
  if (keys.size() != values.size()) bad(context, "{} keys for {} values", keys.size(), values.size());
  if (keys.dtype() != x.dtype) {
    bad(context, "expected {} as the keys are, found {}", tensor::to_string(keys.dtype()), to_string(x));
  }
  get_default(context.attributes, values.dtype());
  context.outputs[0] = {values.dtype(), x.shape, std::nullopt};
}

void evaluate_label_encoder(EvaluateContext& context) {
  const Tensor& x = context.inputs[0];
  const Tensor values = get_column(context.attributes, "values");
  context.outputs[0] = take_or(values, get_default(context.attributes, values.dtype()),
                               find_keys(x, get_column(context.attributes, "keys")), x.dims());
}

}  // namespace

const OpDef& ai_onnx_ml_label_encoder_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.LabelEncoder",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"default_float", AttributeKind::real, false, 2},
                     {"default_int64", AttributeKind::integer},
                     {"default_string", AttributeKind::string},
                     {"default_tensor", AttributeKind::tensor, false, 4},
                     {"keys_floats", AttributeKind::reals, false, 2},
                     {"keys_int64s", AttributeKind::integers, false, 2},
                     {"keys_strings", AttributeKind::strings, false, 2},
                     {"keys_tensor", AttributeKind::tensor, false, 4},
                     {"values_floats", AttributeKind::reals, false, 2},
                     {"values_int64s", AttributeKind::integers, false, 2},
                     {"values_strings", AttributeKind::strings, false, 2},
                     {"values_tensor", AttributeKind::tensor, false, 4}},
      .elementwise = true,
      .infer = infer_label_encoder,
      .evaluate = evaluate_label_encoder,
  };
  return def;
}

}  // namespace lathe::op
