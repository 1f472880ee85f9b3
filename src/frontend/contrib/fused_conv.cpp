// Convolutions with a residual and an activation, and with channels last.
#include "base/error.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

op::Attributes conv_attributes(const ContribNode& n) {
  return n.take({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
}

Value with_activation(const ContribNode& n, Value x) {
  const auto given = n.attributes().find_floats("activation_params").value_or(std::vector<double>());
  ActivationParameters parameters;
  if (!given.empty()) parameters.alpha = given[0];
  if (given.size() > 1) parameters.beta = given[1];
  return activate(n.b, x, n.attributes().get_string("activation", ""), parameters);
}

Value conv(const ContribNode& n, Value x, Value w) {
  std::vector<Value> inputs = {x, w};
  if (n.has(2)) inputs.push_back(n.in(2));
  return n.b.node("Conv", inputs, conv_attributes(n));
}

// activation(Conv(X, W, B) + Z)
Results fused_conv(const ContribNode& n) {
  const Value y = conv(n, n.in(0), n.in(1));
  return {with_activation(n, n.has(3) ? n.b.add(y, n.in(3)) : y)};
}

// The same of X, Y and Z with channels last; W as Conv has it.
Results nhwc_fused_conv(const ContribNode& n) {
  const Value y = channels_last(n.b, conv(n, channels_first(n.b, n.in(0), n.rank(0)), n.in(1)), n.rank(0));
  return {with_activation(n, n.has(3) ? n.b.add(y, n.in(3)) : y)};
}

// Conv with channels last, in W too: [out, kernel.., in / group].
Results nhwc_conv(const ContribNode& n) {
  const Value x = channels_first(n.b, n.in(0), n.rank(0));
  return {channels_last(n.b, conv(n, x, channels_first(n.b, n.in(1), n.rank(1))), n.rank(0))};
}

constexpr ContribOp kOps[] = {
    {.name = "FusedConv",
     .inputs = "X W B? Z?",
     .attributes = "activation activation_params auto_pad dilations group kernel_shape pads strides",
     .expand = fused_conv},
    {.name = "NhwcFusedConv",
     .inputs = "X W B? Z?",
     .attributes = "activation activation_params auto_pad dilations group kernel_shape pads strides",
     .expand = nhwc_fused_conv},
    {.name = "NhwcConv",
     .inputs = "X W B?",
     .attributes = "auto_pad dilations group kernel_shape pads strides",
     .expand = nhwc_conv},
};

}  // namespace

std::span<const ContribOp> fused_conv_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
