// Conv(DequantizeLinear(x), DequantizeLinear(w), b) = lathe.QConv(x, w, scale = x_scale w_scale, b), for constant w
// with a scale for all or for each feature, and b constant or dequantised from i32
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto x = find_dequantized_bytes(graph, node.inputs[0]);
  const auto w = find_dequantized_weights(graph, node.inputs[1], 0);
  if (!x || !w || graph.is_constant(x->x) || graph.type(x->x).shape.size() > 5) return false;
  Quantized q{"lathe.QConv", {}, node.attributes};
  q[op::kQX] = x->x;
  q[op::kQWeights] = w->x;
  if (!set_scale_and_bias(graph, q, *x, *w, node.inputs.size() > 2 ? node.inputs[2] : ir::Value{})) return false;
  return replace_with(graph, id, q);
}

}  // namespace

const Rule& q_dequantized_conv_lowering() {
  static const Rule rule{.name = "q_dequantized_conv", .roots = {"Conv"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
