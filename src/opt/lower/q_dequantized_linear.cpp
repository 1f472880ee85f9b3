// MatMul(DequantizeLinear(x), DequantizeLinear(W)) = lathe.QLinear(x, W', scale = x_scale w_scale), for a constant
// matrix W with a scale for all or for each column; the same of Gemm without factors, with its bias
#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const bool gemm = node.op == "Gemm";
  const op::Attributes& attributes = node.attributes;
  const ir::Value bias = node.inputs.size() > 2 ? node.inputs[2] : ir::Value{};
  if (gemm && (attributes.get_int("transA", 0) != 0 || attributes.get_float("alpha", 1) != 1)) return false;
  if (bias && attributes.get_float("beta", 1) != 1) return false;
  const bool transposed = gemm && attributes.get_int("transB", 0) != 0;
  const auto x = find_dequantized_bytes(graph, node.inputs[0]);
  const auto w = find_dequantized_weights(graph, node.inputs[1], transposed ? 0 : 1);
  if (!x || !w || graph.is_constant(x->x) || graph.type(w->x).shape.size() != 2) return false;
  Quantized q{"lathe.QLinear", {}, {}};
  q[op::kQX] = x->x;
  q[op::kQWeights] = transposed ? w->x : transposed_constant(graph, w->x);
  if (!set_scale_and_bias(graph, q, *x, *w, bias)) return false;
  return replace_with(graph, id, q);
}

}  // namespace

const Rule& q_dequantized_linear_lowering() {
  static const Rule rule{.name = "q_dequantized_linear", .roots = {"Gemm", "MatMul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
