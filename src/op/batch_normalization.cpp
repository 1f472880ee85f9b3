// (x - mean) / sqrt(variance + epsilon) * scale + bias for each channel: with given statistics, or, in training,
// with the batch's own, which move the running ones.
#include <cmath>

#include "op/normalization.h"
#include "op/values.h"

namespace lathe::op {
namespace {

enum Input : size_t { kX, kScale, kBias, kMean, kVariance };

void infer_batch_normalization(InferContext& context) {
  const TypeInfo& x = require(context, kX, kFloat);
  if (x.shape.empty()) bad(context, "input 0 is a scalar");
  const tensor::Dim channels = x.shape.size() == 1 ? tensor::Dim(1) : x.shape[1];
  for (size_t i = kScale; i <= kVariance; ++i) require_channel_vector(context, i, channels);
  require_same_dtype(context, kScale, kBias);
  require_same_dtype(context, kMean, kVariance);
  const bool training = context.attributes.get_int("training_mode", 0) != 0;
  if (context.outputs.size() > (training ? 3u : 1u))
    bad(context, "{} outputs with training_mode {}", context.outputs.size(), int(training));
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
  for (size_t i = 1; i < context.outputs.size(); ++i)
    context.outputs[i] = {context.input(kMean).dtype, {channels}, std::nullopt};
}

void evaluate_batch_normalization(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const bool training = context.attributes.get_int("training_mode", 0) != 0;
  const double momentum = float(context.attributes.get_float("momentum", 0.9f));
  const double epsilon = read_epsilon(context.attributes);
  const bool flat = x.dims().size() == 1;  // one channel
  const int64_t batch = x.dims()[0];
  const int64_t channels = flat ? 1 : x.dims()[1];
  const int64_t inner = flat ? 1 : count_of(x.dims(), 2, x.dims().size());
  const std::vector<double> scale = load<double>(context.inputs[kScale]);
  const std::vector<double> bias = load<double>(context.inputs[kBias]);
  std::vector<double> means = load<double>(context.inputs[kMean]);
  std::vector<double> variances = load<double>(context.inputs[kVariance]);
  std::vector<double> values = load<double>(x);
  for (int64_t c = 0; c < channels; ++c) {
    const size_t channel = size_t(c);
    const auto at = [&](int64_t i) -> double& {
      return values[size_t((i / inner * channels + c) * inner + i % inner)];
    };
    const int64_t count = batch * inner;
    Moments used{means[channel], variances[channel]};
    if (training) {
      used = moments(count, at);
      means[channel] = means[channel] * momentum + used.mean * (1 - momentum);
      variances[channel] = variances[channel] * momentum + used.variance * (1 - momentum);
    }
    const double inverse = 1 / std::sqrt(used.variance + epsilon);
    for (int64_t i = 0; i < count; ++i) at(i) = (at(i) - used.mean) * inverse * scale[channel] + bias[channel];
  }
  context.outputs[0] = store(x.dtype(), x.dims(), values);
  const tensor::DType dtype = context.inputs[kMean].dtype();
  if (context.outputs.size() > 1) context.outputs[1] = store(dtype, {channels}, means);
  if (context.outputs.size() > 2) context.outputs[2] = store(dtype, {channels}, variances);
}

}  // namespace

const OpDef& batch_normalization_op() {
  static const OpDef def{
      .name = "BatchNormalization",
      .min_inputs = 5,
      .max_inputs = 5,
      .min_outputs = 1,
      .max_outputs = 3,
      .attributes = {{"epsilon", AttributeKind::real},
                     {"momentum", AttributeKind::real},
                     {"training_mode", AttributeKind::integer, false, 14}},
      .infer = infer_batch_normalization,
      .evaluate = evaluate_batch_normalization,
  };
  return def;
}

}  // namespace lathe::op
