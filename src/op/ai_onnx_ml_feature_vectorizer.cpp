// The features of all inputs side by side: [N, F1 + F2 ...]. A vector counts as one row.
#include "op/ml.h"

namespace lathe::op {
namespace {

tensor::Shape row_shape(const InferContext& context, size_t i) {
  const TypeInfo& x = require(context, i, kFeatures);
  if (x.shape.size() == 1) return {tensor::Dim(1), x.shape[0]};
  require_rank(context, i, 2);
  return x.shape;
}

void infer_feature_vectorizer(InferContext& context) {
  const auto& widths = get_list<int64_t>(context.attributes, "inputdimensions");
  if (context.attributes.has("inputdimensions")) {
    require_length(context.op, "inputdimensions", widths.size(), int64_t(context.inputs.size()));
  }
  tensor::Shape shape = row_shape(context, 0);
  shape[1] = 0;
  for (size_t i = 0; i < context.inputs.size(); ++i) {
    require_same_dtype(context, 0, i);
    const tensor::Shape own = row_shape(context, i);
    require_dims_agree(context, fmt::format("rows of input {}", i), shape[0], own[0]);
    if (!widths.empty()) require_dims_agree(context, fmt::format("features of input {}", i), widths[i], own[1]);
    shape[1] = shape[1] + own[1];
  }
  context.outputs[0] = {tensor::DType::f32, std::move(shape), std::nullopt};
}

void evaluate_feature_vectorizer(EvaluateContext& context) {
  std::vector<Table> tables;
  int64_t width = 0;
  for (const tensor::Tensor& input : context.inputs) width += tables.emplace_back(input).features;
  const int64_t rows = tables[0].rows;
  std::vector<double> values;
  for (int64_t i = 0; i < rows; ++i) {
    for (const Table& table : tables) values.insert(values.end(), table.row(i).begin(), table.row(i).end());
  }
  context.outputs[0] = store(tensor::DType::f32, {rows, width}, values);
}

}  // namespace

const OpDef& ai_onnx_ml_feature_vectorizer_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.FeatureVectorizer",
      .min_inputs = 1,
      .max_inputs = kVariadic,
      .attributes = {{"inputdimensions", AttributeKind::integers}},
      .infer = infer_feature_vectorizer,
      .evaluate = evaluate_feature_vectorizer,
  };
  return def;
}

}  // namespace lathe::op
