// Each row divided by its largest element, the sum of its magnitudes or its length; rows whose divisor is 0 stay.
#include <algorithm>
#include <cmath>

#include "op/ml.h"

namespace lathe::op {
namespace {

void infer_normalizer(InferContext& context) {
  table_dims(context);
  const std::string norm = context.attributes.get_string("norm", "MAX");
  if (norm != "MAX" && norm != "L1" && norm != "L2") bad(context, "norm: expected MAX, L1 or L2, found \"{}\"", norm);
  context.outputs[0] = {tensor::DType::f32, context.input(0).shape, std::nullopt};
}

void evaluate_normalizer(EvaluateContext& context) {
  const std::string norm = context.attributes.get_string("norm", "MAX");
  Table x(context.inputs[0]);
  for (int64_t i = 0; i < x.rows && x.features > 0; ++i) {
    const auto row = std::span(x.values).subspan(size_t(i * x.features), size_t(x.features));
    double divisor = norm == "MAX" ? *std::max_element(row.begin(), row.end()) : 0;
    for (const double value : row) divisor += norm == "L1" ? std::fabs(value) : norm == "L2" ? value * value : 0;
    if (norm == "L2") divisor = std::sqrt(divisor);
    if (divisor == 0) continue;
    for (double& value : row) value /= divisor;
  }
  context.outputs[0] = store(tensor::DType::f32, context.inputs[0].dims(), x.values);
}

}  // namespace

const OpDef& ai_onnx_ml_normalizer_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.Normalizer",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"norm", AttributeKind::string}},
      .infer = infer_normalizer,
      .evaluate = evaluate_normalizer,
  };
  return def;
}

}  // namespace lathe::op
