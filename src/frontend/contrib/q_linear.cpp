// Operators on 8-bit values with scales: dequantised, computed, quantised again.
#include "base/error.h"
#include "frontend/contrib/quantized_values.h"

namespace lathe::frontend {
namespace {

Results q_linear_add(const ContribNode& n) {
  return {quantized(n, n.b.add(dequantized(n, 0), dequantized(n, 3)), 6, n.dtype(0))};
}

Results q_linear_mul(const ContribNode& n) {
  return {quantized(n, n.b.mul(dequantized(n, 0), dequantized(n, 3)), 6, n.dtype(0))};
}

// One input with scale and zero point, then those of the result.
Results unary(const ContribNode& n, std::string_view op, op::Attributes attributes = {}) {
  return {quantized(n, n.b.node(op, {dequantized(n, 0)}, std::move(attributes)), 3, n.dtype(0))};
}

Results q_linear_sigmoid(const ContribNode& n) {
  return unary(n, "Sigmoid");
}

Results q_linear_leaky_relu(const ContribNode& n) {
  return unary(n, "LeakyRelu", {{"alpha", n.get_float("alpha", 0.01f)}});
}

// Before opset 13 the axes from `axis` on were one.
Results q_linear_softmax(const ContribNode& n) {
  const Builder& b = n.b;
  const int64_t rank = int64_t(n.rank(0));
  int64_t axis = n.get_int("axis", -1);
  if (axis < 0) axis += rank;
  if (n.get_int("opset") >= 13 || axis == rank - 1) return unary(n, "Softmax", {{"axis", axis}});
  const Value x = dequantized(n, 0);
  const Value y = b.node("Softmax", {b.node("Flatten", {x}, {{"axis", axis}})}, {{"axis", int64_t{-1}}});
  return {quantized(n, b.node("Reshape", {y, b.node("Shape", {x})}, {{"allowzero", int64_t{1}}}), 3, n.dtype(0))};
}

Results q_linear_reduce_mean(const ContribNode& n) {
  const auto axes = n.attributes().find_ints("axes");
  if (!axes) fail(ErrorCode::invalid_input, "attribute \"axes\" is missing");
  const Value y = n.b.node("ReduceMean", {dequantized(n, 0), n.b.ints(*axes)}, n.take({"keepdims"}));
  return {quantized(n, y, 3, n.dtype(0))};
}

Results q_linear_where(const ContribNode& n) {
  return {quantized(n, n.b.node("Where", {n.in(0), dequantized(n, 1), dequantized(n, 4)}), 7, n.dtype(1))};
}

// Scale and zero point of the result, then value, scale and zero point of each part.
Results q_linear_concat(const ContribNode& n) {
  std::vector<Value> parts;
  if (n.inputs() < 5 || n.inputs() % 3 != 2) fail(ErrorCode::invalid_input, "{} inputs", n.inputs());
  for (size_t i = 2; i < n.inputs(); i += 3) parts.push_back(dequantized(n, i));
  return {quantized(n, n.b.concat(parts, n.get_int("axis")), 0, n.dtype(1))};
}

constexpr ContribOp kOps[] = {
    {.name = "QLinearAdd",
     .inputs = "A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?",
     .attributes = "",
     .expand = q_linear_add},
    {.name = "QLinearMul",
     .inputs = "A A_scale A_zero_point? B B_scale B_zero_point? C_scale C_zero_point?",
     .attributes = "",
     .expand = q_linear_mul},
    {.name = "QLinearSigmoid",
     .inputs = "X X_scale X_zero_point? Y_scale Y_zero_point?",
     .attributes = "",
     .expand = q_linear_sigmoid},
    {.name = "QLinearLeakyRelu",
     .inputs = "X X_scale X_zero_point? Y_scale Y_zero_point?",
     .attributes = "alpha",
     .expand = q_linear_leaky_relu},
    {.name = "QLinearSoftmax",
     .inputs = "X X_scale x_zero_point? y_scale y_zero_point",
     .attributes = "axis opset",
     .expand = q_linear_softmax},
    {.name = "QLinearReduceMean",
     .inputs = "data data_scale data_zero_point? reduced_scale reduced_zero_point?",
     .attributes = "axes keepdims",
     .expand = q_linear_reduce_mean},
    {.name = "QLinearWhere",
     .inputs = "condition X x_scale x_zero_point Y y_scale y_zero_point z_scale z_zero_point",
     .attributes = "",
     .expand = q_linear_where},
    {.name = "QLinearConcat", .inputs = "Y_scale Y_zero_point ...", .attributes = "axis", .expand = q_linear_concat},
};

}  // namespace

std::span<const ContribOp> q_linear_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
