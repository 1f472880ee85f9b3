// Pools and convolutions on 8-bit values, with channels first or last.
#include "base/error.h"
#include "frontend/contrib/parts.h"
#include "frontend/contrib/quantized_values.h"

namespace lathe::frontend {
namespace {

// pool(x) where x has its channels first, or is brought there and back.
template <class Pool>
Value with_channels_first(const ContribNode& n, bool last, Value x, Pool&& pool) {
  const size_t rank = n.rank(0);
  if (rank < 3) n.bad_input(0, "expected a batch, channels and at least one axis");
  return last ? channels_last(n.b, pool(channels_first(n.b, x, rank)), rank) : pool(x);
}

Results q_linear_average_pool(const ContribNode& n) {
  const op::Attributes attributes =
      n.take({"auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"});
  const Value y = with_channels_first(n, n.get_bool("channels_last"), dequantized(n, 0),
                                      [&](Value x) { return n.b.node("AveragePool", {x}, attributes); });
  return {quantized(n, y, 3, n.dtype(0))};
}

Results q_linear_global_average_pool(const ContribNode& n) {
  const Value y = with_channels_first(n, n.get_bool("channels_last"), dequantized(n, 0),
                                      [&](Value x) { return n.b.node("GlobalAveragePool", {x}); });
  return {quantized(n, y, 3, n.dtype(0))};
}

Results nhwc_max_pool(const ContribNode& n) {
  const op::Attributes attributes = n.take({"auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides"});
  return {with_channels_first(n, true, n.in(0), [&](Value x) { return n.b.node("MaxPool", {x}, attributes); })};
}

// The standard operator, where only X and Y may have their channels last.
Results q_linear_conv(const ContribNode& n) {
  std::vector<Value> inputs;
  for (size_t i = 0; i < n.inputs(); ++i) inputs.push_back(n.in(i));
  const op::Attributes attributes = n.take({"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"});
  return {with_channels_first(n, n.get_bool("channels_last"), n.in(0), [&](Value x) {
    inputs[0] = x;
    return n.b.node("QLinearConv", inputs, attributes);
  })};
}

constexpr ContribOp kOps[] = {
    {.name = "QLinearAveragePool",
     .inputs = "X x_scale x_zero_point? y_scale y_zero_point?",
     .attributes = "auto_pad ceil_mode channels_last count_include_pad kernel_shape pads strides",
     .expand = q_linear_average_pool},
    {.name = "QLinearGlobalAveragePool",
     .inputs = "X x_scale x_zero_point y_scale y_zero_point",
     .attributes = "channels_last",
     .expand = q_linear_global_average_pool},
    {.name = "NhwcMaxPool",
     .inputs = "x",
     .attributes = "auto_pad ceil_mode dilations kernel_shape pads strides",
     .expand = nhwc_max_pool},
    {.name = "QLinearConv",
     .inputs = "x x_scale x_zero_point w w_scale w_zero_point y_scale y_zero_point B?",
     .attributes = "auto_pad channels_last dilations group kernel_shape pads strides",
     .expand = q_linear_conv},
};

}  // namespace

std::span<const ContribOp> q_linear_windows_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
