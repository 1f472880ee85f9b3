// (x - offset) scale, each one number for all or one for every feature (the last axis).
#include "op/ml.h"

namespace lathe::op {
namespace {

void infer_scaler(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFeatures);
  if (x.shape.empty()) bad(context, "expected at least one dimension, found {}", to_string(x));
  const auto features = x.shape.back().constant();
  for (const char* name : {"offset", "scale"}) {
    const size_t count = get_list<double>(context.attributes, name).size();
    if (count > 1 && features) require_length(context.op, name, count, *features);
  }
  context.outputs[0] = {tensor::DType::f32, x.shape, std::nullopt};
}

// Entry of a list that is empty, has one entry for all, or one each.
double entry(const std::vector<double>& list, size_t i, double otherwise) {
  return list.empty() ? otherwise : list[list.size() == 1 ? 0 : i];
}

void evaluate_scaler(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const auto& offset = get_list<double>(context.attributes, "offset");
  const auto& scale = get_list<double>(context.attributes, "scale");
  const size_t features = size_t(x.dims().back());
  std::vector<double> values = load<double>(x);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = (values[i] - entry(offset, i % features, 0)) * entry(scale, i % features, 1);
  }
  context.outputs[0] = store(tensor::DType::f32, x.dims(), values);
}

}  // namespace

const OpDef& ai_onnx_ml_scaler_op() {
  static const OpDef def{
      .name = "ai.onnx.ml.Scaler",
      .min_inputs = 1,
      .max_inputs = 1,
      .attributes = {{"offset", AttributeKind::reals}, {"scale", AttributeKind::reals}},
      .infer = infer_scaler,
      .evaluate = evaluate_scaler,
  };
  return def;
}

}  // namespace lathe::op
