// The data with one value (NaN, -1 ...) replaced by another, which may differ from feature to feature.
#include <cmath>

#include "op/ml.h"

namespace lathe::op {
namespace {

// Replacements by the name that belongs to the dtype.
bool has_reals(tensor::DType dtype) {
  return tensor::is_float(dtype);
}

void infer_imputer(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFeatures);
  if (x.shape.empty()) bad(context, "expected at least one dimension, found {}", to_string(x));
  const char* name = has_reals(x.dtype) ? "imputed_value_floats" : "imputed_value_int64s";
  const auto& ints = get_list<int64_t>(context.attributes, "imputed_value_int64s");
  const size_t count =
      has_reals(x.dtype) ? get_list<double>(context.attributes, "imputed_value_floats").size() : ints.size();
  if (count == 0) bad(context, "{} is missing for {}", name, to_string(x));
  const auto features = x.shape.back().constant();
  if (count > 1 && features) require_length(context.op, name, count, *features);
  const int unused = has_reals(x.dtype) ? 0 : 64 - tensor::bits(x.dtype);
  for (const int64_t value : ints) {
    if (!has_reals(x.dtype) && (value > INT64_MAX >> unused || value < INT64_MIN >> unused)) {
      bad(context, "{} does not fit {}", value, tensor::to_string(x.dtype));
    }
  }
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
}

template <class V>
tensor::Tensor impute(const tensor::Tensor& x, V replaced, const std::vector<V>& by) {
  const size_t features = size_t(x.dims().back());
  std::vector<V> values = load<V>(x);
  for (size_t i = 0; i < values.size(); ++i) {
    const bool both_nan = values[i] != values[i] && replaced != replaced;
    if (values[i] == replaced || both_nan) values[i] = by[by.size() == 1 ? 0 : i % features];
  }
  return store(x.dtype(), x.dims(), values);
}

void evaluate_imputer(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const Attributes& attributes = context.attributes;
  context.outputs[0] = has_reals(x.dtype()) ? impute(x, attributes.get_float("replaced_value_float", 0),
                                                     get_list<double>(attributes, "imputed_value_floats"))
                                            : impute(x, attributes.get_int("replaced_value_int64", 0),
                                                     get_list<int64_t>(attributes, "imputed_value_int64s"));
}

}  // namespace

const OpDef& ai_onnx_ml_imputer_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.Imputer",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"imputed_value_floats", AttributeKind::reals},
                     {"imputed_value_int64s", AttributeKind::integers},
                     {"replaced_value_float", AttributeKind::real},
                     {"replaced_value_int64", AttributeKind::integer}},
      .infer = infer_imputer,
      .evaluate = evaluate_imputer,
  };
  return def;
}

}  // namespace lathe::op
