// A causal depthwise convolution that carries the last k - 1 positions to the next call.
//
// input [batch, channels, length], weight [channels, 1, k], bias? [channels], past_state? [batch, channels, k - 1]
// (zeros if absent). output[b, c, t] = bias[c] + sum over i of weight[c, i] * sequence[b, c, t + i], the sequence
// being the past followed by the input; present_state is the last k - 1 positions of it.
#include <cmath>

#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

enum Input : size_t { kX, kWeight, kBias, kPast };

void infer_causal_conv(InferContext& context) {
  const TypeInfo& x = require(context, kX, kF32 | kF16 | kBf16);
  for (const size_t i : {kWeight, kBias, kPast}) require_same_dtype(context, kX, i);
  require_rank(context, kX, 3);
  require_rank(context, kWeight, 3);
  const tensor::Shape& weight = context.input(kWeight).shape;
  require_dims_agree(context, "channels of the weight", weight[0], x.shape[1]);
  require_dims_agree(context, "middle axis of the weight", weight[1], Dim(1));
  if (weight[2].constant().value_or(1) < 1) bad(context, "weight {} has no taps", to_string(context.input(kWeight)));
  const tensor::Shape state{x.shape[0], x.shape[1], weight[2] - Dim(1)};
  if (context.has_input(kBias)) {
    require_rank(context, kBias, 1);
    require_dims_agree(context, "bias", context.input(kBias).shape[0], x.shape[1]);
  }
  if (context.has_input(kPast)) {
    require_rank(context, kPast, 3);
    for (size_t i = 0; i < 3; ++i) require_dims_agree(context, "past_state", context.input(kPast).shape[i], state[i]);
  }
  const std::string activation = context.attributes.get_string("activation", "none");
  if (activation != "none" && activation != "silu" && activation != "swish")
    bad(context, "activation \"{}\"", activation);
  context.outputs[0] = {x.dtype, x.shape, std::nullopt};
  context.outputs[1] = {x.dtype, state, std::nullopt};
}

void evaluate_causal_conv(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[kX];
  const int64_t channels = x.dims()[1];
  const int64_t length = x.dims()[2];
  const int64_t taps = context.inputs[kWeight].dims()[2];
  const int64_t carried = taps - 1;
  const tensor::Dims state_dims{x.dims()[0], channels, carried};
  const std::vector<double> input = load<double>(x);
  const std::vector<double> weight = load<double>(context.inputs[kWeight]);
  std::vector<double> bias, state(size_t(count_of(state_dims, 0, 3)));
  if (context.has_input(kBias)) bias = load<double>(context.inputs[kBias]);
  if (context.has_input(kPast)) state = load<double>(context.inputs[kPast]);
  const bool silu = context.attributes.get_string("activation", "none") != "none";
  std::vector<double> output(input.size());
  for (int64_t row = 0; row < x.dims()[0] * channels; ++row) {
    const auto past = state.begin() + row * carried;
    std::vector<double> sequence(past, past + carried);
    sequence.insert(sequence.end(), input.begin() + row * length, input.begin() + (row + 1) * length);
    const int64_t channel = row % channels;
    for (int64_t t = 0; t < length; ++t) {
      double sum = dot(weight.data() + channel * taps, 1, sequence.data() + t, 1, taps);
      if (!bias.empty()) sum += bias[size_t(channel)];
      output[size_t(row * length + t)] = silu ? sum / (1 + std::exp(-sum)) : sum;
    }
    std::copy(sequence.end() - carried, sequence.end(), past);
  }
  context.outputs[0] = store(x.dtype(), x.dims(), output);
  context.outputs[1] = store(x.dtype(), state_dims, state);
}

}  // namespace

const OpDef& causal_conv_with_state_op() {
  static const OpDef def{
      .name = "CausalConvWithState",
      .min_inputs = 2,
      .max_inputs = 4,
      .min_outputs = 2,
      .max_outputs = 2,
      .attributes = {{"activation", AttributeKind::string}},
      .since = 27,
      .infer = infer_causal_conv,
      .evaluate = evaluate_causal_conv,
  };
  return def;
}

}  // namespace lathe::op
