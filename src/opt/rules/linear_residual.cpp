// r + Linear(x, W) = Linear(x, W, residual = r), for r of the same shape
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 2; i-- > 0;) {
    auto linear = find_linear(graph, node.inputs[i]);
    const ir::Value residual = node.inputs[1 - i];
    if (!linear || linear->residual || residual == node.inputs[i] || graph.is_constant(residual)) continue;
    if (!same_type(graph, residual, node.inputs[i])) continue;
    linear->residual = residual;
    return replace_with(graph, id, *linear);
  }
  return false;
}

}  // namespace

const Rule& linear_residual_rule() {
  static const Rule rule{.name = "linear_residual", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
