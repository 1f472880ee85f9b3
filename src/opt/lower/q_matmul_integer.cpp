// MatMulInteger(x, W, x_zero, w_zero) = lathe.QLinear(x, W', x_zero, w_zero), for a constant matrix W and one x_zero
#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value x = node.inputs[0], w = node.inputs[1];
  const auto input = [&](size_t i) { return i < node.inputs.size() ? node.inputs[i] : ir::Value{}; };
  if (!graph.is_constant(w) || graph.type(w).shape.size() != 2) return false;
  if (input(2) && !is_single(graph, input(2))) return false;  // a zero point for each row
  if (input(3) && graph.type(input(3)).shape.size() > 1) return false;
  Quantized q{"lathe.QLinear", {}, {}};
  q[op::kQX] = x;
  q[op::kQWeights] = transposed_constant(graph, w);
  q[op::kQXZero] = input(2);
  q[op::kQWZero] = input(3);
  return replace_with(graph, id, q);
}

}  // namespace

const Rule& q_matmul_integer_lowering() {
  static const Rule rule{.name = "q_matmul_integer", .roots = {"MatMulInteger"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
