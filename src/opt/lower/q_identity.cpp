// QuantizeLinear(DequantizeLinear(x, s, z), s, z) = x, for bytes x and one s > 0: at most 255 s / s is off by less than
// half a step
#include <cmath>

#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const auto inner = find_dequantized_bytes(graph, node.inputs[0]);
  const auto outer = inner ? find_quantize(graph, node) : std::nullopt;
  if (!outer || !same_type(graph, inner->x, node.outputs[0])) return false;
  const auto scale = number_list(graph, inner->scale);
  if (!scale || scale->front() != outer->scale) return false;
  const auto zero = inner->zero ? number_list(graph, inner->zero) : std::vector<double>{0};
  if (!zero || zero->front() != outer->zero_number || !(outer->scale > 1e-30 && outer->scale < 1e30)) return false;
  return replace(graph, id, inner->x);
}

}  // namespace

const Rule& q_identity_lowering() {
  static const Rule rule{.name = "q_identity", .roots = {"QuantizeLinear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
