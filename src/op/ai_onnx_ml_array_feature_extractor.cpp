// Columns of the last axis by index; a vector counts as one row.
#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_extractor(InferContext& context) {
  const TypeInfo& x = require(context, 0, kF32 | kF64 | kSigned | kString);
  const TypeInfo& indices = require_dtype(context, 1, tensor::DType::i64);
  if (x.shape.empty()) bad(context, "expected at least one dimension, found {}", to_string(x));
  tensor::Shape shape(x.shape.begin(), x.shape.end() - 1);
  if (shape.empty()) shape.emplace_back(1);
  shape.push_back(tensor::element_count(indices.shape));
  context.outputs[0] = {x.dtype, std::move(shape), std::nullopt};
}

void evaluate_extractor(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t length = x.dims().back();
  const std::vector<int64_t> columns = load<int64_t>(context.inputs[1]);
  for (const int64_t column : columns) {
    if (column < 0 || column >= length) {
      fail(ErrorCode::invalid_input, "ArrayFeatureExtractor: index {} is outside of length {}", column, length);
    }
  }
  tensor::Dims dims(x.dims().begin(), x.dims().end() - 1);
  if (dims.empty()) dims.push_back(1);
  dims.push_back(int64_t(columns.size()));
  context.outputs[0] = take(x, std::move(dims), [&, i = size_t{0}]() mutable {
    const size_t at = i++;
    return int64_t(at / columns.size()) * length + columns[at % columns.size()];
  });
}

}  // namespace

const OpDef& ai_onnx_ml_array_feature_extractor_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.ArrayFeatureExtractor",
      .min_inputs = 2,
      .max_inputs = 2,
      .infer = infer_extractor,
      .evaluate = evaluate_extractor,
  };
  return def;
}

}  // namespace lathe::op
