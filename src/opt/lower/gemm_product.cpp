// Gemm(a, b, c) = alpha a b + beta c as MatMul, Mul and Add, where it is not lathe.Linear
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (graph.type(node.outputs[0]).dtype != tensor::DType::f32) return false;
  for (const ir::Value input : node.inputs) {
    if (find_producer(graph, input, "DequantizeLinear")) return false;  // for the lowerings of quantised products
  }
  const auto add = [&](std::string_view op, std::vector<ir::Value> inputs, op::Attributes attributes = {}) {
    return graph.node(graph.add_node(op, std::move(inputs), std::move(attributes), node.name, 1, id)).outputs[0];
  };
  const auto factor = [&](ir::Value value, const char* name) {
    const double number = node.attributes.get_float(name, 1);
    if (number == 1) return value;
    return add("Mul", {value, graph.add_constant("", tensor::Tensor::scalar<float>(float(number)))});
  };
  const auto operand = [&](size_t i, const char* name) {
    if (node.attributes.get_int(name, 0) == 0) return node.inputs[i];
    return add("Transpose", {node.inputs[i]}, {{"perm", std::vector<int64_t>{1, 0}}});
  };
  const ir::Value a = operand(0, "transA"), b = operand(1, "transB");
  ir::Value result = factor(add("MatMul", {a, b}), "alpha");
  const bool adds = node.inputs.size() > 2 && node.inputs[2] && node.attributes.get_float("beta", 1) != 0;
  if (adds) result = add("Add", {result, factor(node.inputs[2], "beta")});
  return replace(graph, id, result);
}

}  // namespace

const Rule& gemm_product_lowering() {
  static const Rule rule{.name = "gemm_product", .roots = {"Gemm"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
