// The identity; in training mode, elements are set to 0 with probability `ratio` and the others scaled by
// 1 / (1 - ratio). The second output says which ones stayed.
#include "op/inference.h"
#include "op/random.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::DType;

enum Input : size_t { kData, kRatio, kTraining };

void require_real(const InferContext& context, size_t i) {
  const TypeInfo& type = require(context, i, kFloat | kSmallFloat);
  if (type.dtype == DType::f4e2m1 || type.dtype == DType::f8e8m0)
    bad(context, "input {}: found {}", i, to_string(type));
}

void infer_dropout(InferContext& context) {
  require_real(context, kData);
  if (context.has_input(kRatio)) require_real(context, kRatio);
  if (context.has_input(kTraining)) require_dtype(context, kTraining, DType::boolean);
  for (const size_t i : {kRatio, kTraining}) {
    if (!context.has_input(i)) continue;
    const auto count = tensor::element_count(context.input(i).shape).constant();
    if (count && *count != 1) bad(context, "input {}: expected a scalar, found {}", i, to_string(context.input(i)));
  }
  const TypeInfo& data = context.input(kData);
  context.outputs[0] = {data.dtype, data.shape, std::nullopt};
  if (context.outputs.size() > 1) context.outputs[1] = {DType::boolean, data.shape, std::nullopt};
}

void evaluate_dropout(EvaluateContext& context) {
  const tensor::Tensor& data = context.inputs[kData];
  const bool training = context.has_input(kTraining) && load_int(context.inputs[kTraining]) != 0;
  const double ratio = context.has_input(kRatio) ? load_double(context.inputs[kRatio]) : 0.5;
  std::vector<uint64_t> kept(size_t(data.size()), 1);
  context.outputs[0] = data;
  if (training) {
    if (!(ratio >= 0 && ratio < 1)) fail(ErrorCode::invalid_input, "Dropout: ratio {} is outside of [0, 1)", ratio);
    std::vector<double> values = load<double>(data);
    RandomStream stream(context.attributes);
    for (size_t i = 0; i < values.size(); ++i) {
      kept[i] = stream.uniform() >= ratio;
      values[i] *= double(kept[i]) / (1 - ratio);
    }
    if (ratio > 0) context.outputs[0] = store(data.dtype(), data.dims(), values);
  }
  if (context.outputs.size() > 1) context.outputs[1] = store(DType::boolean, data.dims(), kept);
}

}  // namespace

const OpDef& dropout_op() {
  static const OpDef def{
      .name = "Dropout",
      .min_inputs = 1,
      .max_inputs = 3,
      .min_outputs = 1,
      .max_outputs = 2,
      .attributes = {{"seed", AttributeKind::integer}},
      .infer = infer_dropout,
      .evaluate = evaluate_dropout,
  };
  return def;
}

}  // namespace lathe::op
