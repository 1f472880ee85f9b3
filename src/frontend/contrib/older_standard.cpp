// Operators that ONNX has by now, in the form that ONNX Runtime gave them before.
#include "base/error.h"
#include "frontend/contrib/parts.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

Results trilu(const ContribNode& n) {
  std::vector<Value> inputs = {n.in(0)};
  if (n.has(1)) inputs.push_back(n.in(1));
  return {n.b.node("Trilu", inputs, n.take({"upper"}))};
}

Results expand_dims(const ContribNode& n) {
  return {n.b.node("Unsqueeze", {n.in(0), n.b.reshape(as_i64(n.b, n.in(1)), {1})})};
}

// Values in the order of their first places, where each element is among them, how often each occurs.
Results unique(const ContribNode& n) {
  const auto results = n.b.nodes("Unique", {n.in(0)}, {{"sorted", int64_t{0}}}, 4);
  return {results[0], results[2], results[3]};
}

Results pad(const ContribNode& n) {
  std::vector<Value> inputs = {n.in(0), n.rank(1) == 1 ? n.in(1) : n.b.reshape(n.in(1), {-1})};
  if (n.has(2)) inputs.push_back(as_scalar(n.b, n.in(2)));
  return {n.b.node("Pad", inputs, n.take({"mode"}))};
}

Results range(const ContribNode& n) {
  const Value step = n.has(2) ? as_scalar(n.b, n.in(2)) : n.b.scalar(1, n.dtype(0));
  return {n.b.node("Range", {as_scalar(n.b, n.in(0)), as_scalar(n.b, n.in(1)), step})};
}

// Without an axis there is one scale for all.
op::Attributes quantization_axis(const ContribNode& n) {
  const bool one = tensor::element_count(n.shape(1)) == tensor::Dim(1);
  if (!one && !n.has_attribute("axis")) n.bad_input(1, "more than one needs the attribute \"axis\"");
  return n.take({"axis"});
}

std::vector<Value> quantization_inputs(const ContribNode& n) {
  std::vector<Value> inputs = {n.in(0), n.in(1)};
  if (n.has(2)) inputs.push_back(n.in(2));
  return inputs;
}

Results quantize_linear(const ContribNode& n) {
  return {n.b.node("QuantizeLinear", quantization_inputs(n), quantization_axis(n))};
}

Results dequantize_linear(const ContribNode& n) {
  return {n.b.node("DequantizeLinear", quantization_inputs(n), quantization_axis(n))};
}

constexpr ContribOp kOps[] = {
    {.name = "Trilu", .inputs = "X k?", .attributes = "upper", .expand = trilu},
    {.name = "ExpandDims", .inputs = "X axis", .attributes = "", .expand = expand_dims},
    {.name = "Unique", .inputs = "x", .attributes = "", .outputs = 3, .expand = unique},
    {.name = "Pad", .inputs = "data pads value?", .attributes = "mode", .expand = pad},
    {.name = "Range", .inputs = "start limit delta?", .attributes = "", .expand = range},
    {.name = "QuantizeLinear", .inputs = "x y_scale y_zero_point?", .attributes = "axis", .expand = quantize_linear},
    {.name = "DequantizeLinear",
     .inputs = "x x_scale x_zero_point?",
     .attributes = "axis",
     .expand = dequantize_linear},
};

}  // namespace

std::span<const ContribOp> older_standard_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
