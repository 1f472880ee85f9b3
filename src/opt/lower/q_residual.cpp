// q + r = q with residual r, for floats q of lathe.QConv or lathe.QLinear and r of the same shape; behind an activation
// it is added last
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (const size_t i : {size_t{1}, size_t{0}}) {  // the later of two takes the other one's result
    auto q = find_quantized(graph, node.inputs[i]);
    const ir::Value residual = node.inputs[1 - i];
    if (!q || !q->gives_floats() || q->has(op::kQResidual)) continue;
    if (graph.is_constant(residual) || !same_type(graph, residual, node.outputs[0])) continue;
    if (!same_type(graph, node.inputs[i], node.outputs[0])) continue;
    (*q)[op::kQResidual] = residual;
    if (q->attributes.has("activation")) q->attributes.set("residual_last", int64_t{1});
    return replace_with(graph, id, *q);
  }
  return false;
}

}  // namespace

const Rule& q_residual_lowering() {
  static const Rule rule{.name = "q_residual", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
