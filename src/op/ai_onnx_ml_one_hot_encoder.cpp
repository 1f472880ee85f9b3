// Each element as a vector with a one at the place of its category; numbers are cut to integers first.
#include <cmath>

#include "op/ml.h"

namespace lathe::op {
namespace {

using tensor::DType;
using tensor::Tensor;

Tensor categories(const Attributes& attributes) {
  const Tensor numbers = list_tensor(attributes, "cats_int64s");
  const Tensor texts = list_tensor(attributes, "cats_strings");
  if (numbers.defined() == texts.defined()) {
    fail(ErrorCode::invalid_input, "OneHotEncoder: expected one of cats_int64s and cats_strings");
  }
  return numbers.defined() ? numbers : texts;
}

void infer_one_hot_encoder(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFeatures | kString);
  const Tensor cats = categories(context.attributes);
  if ((cats.dtype() == DType::string) != (x.dtype == DType::string)) {
    bad(context, "categories are {}, the input is {}", tensor::to_string(cats.dtype()), to_string(x));
  }
  tensor::Shape shape = x.shape;
  shape.emplace_back(cats.size());
  context.outputs[0] = {DType::f32, std::move(shape), std::nullopt};
}

std::vector<int64_t> find_categories(const Tensor& x, const Tensor& cats) {
  if (!tensor::is_float(x.dtype())) return find_keys(x.dtype() == DType::i32 ? tensor::cast(x, DType::i64) : x, cats);
  std::vector<double> values = load<double>(x);
  for (double& value : values) value = std::trunc(value);
  return find_keys(store(DType::f64, x.dims(), values), tensor::cast(cats, DType::f64));
}

void evaluate_one_hot_encoder(EvaluateContext& context) {
  const Tensor& x = context.inputs[0];
  const Tensor cats = categories(context.attributes);
  const bool zeros = context.attributes.get_int("zeros", 1) != 0;
  const std::vector<int64_t> found = find_categories(x, cats);
  tensor::Dims dims = x.dims();
  dims.push_back(cats.size());
  Tensor result(DType::f32, std::move(dims));
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] >= 0)
      result.data<float>()[i * size_t(cats.size()) + size_t(found[i])] = 1;
    else if (!zeros)
      fail(ErrorCode::invalid_input, "OneHotEncoder: element {} is in no category", i);
  }
  context.outputs[0] = std::move(result);
}

}  // namespace

const OpDef& ai_onnx_ml_one_hot_encoder_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.OneHotEncoder",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"cats_int64s", AttributeKind::integers},
                     {"cats_strings", AttributeKind::strings},
                     {"zeros", AttributeKind::integer}},
      .infer = infer_one_hot_encoder,
      .evaluate = evaluate_one_hot_encoder,
  };
  return def;
}

}  // namespace lathe::op
