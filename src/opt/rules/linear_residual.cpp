// r + Linear(x, W) = Linear(x, W, residual = r), for r of the same shape; of two products the later one takes the other
#include "opt/linear.h"

namespace lathe::opt {
namespace {

// The input whose Linear takes in the other one: the one that is computed last, so that nothing waits for longer.
size_t later_input(const ir::Graph& graph, const ir::Node& sum) {
  const ir::NodeId first = graph.producer(sum.inputs[0]), second = graph.producer(sum.inputs[1]);
  const auto order = graph.nodes();
  for (size_t i = order.size(); i-- > 0;) {
    if (order[i] == second) return 1;
    if (order[i] == first) return 0;
  }
  return 1;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const size_t later = later_input(graph, node);
  for (const size_t i : {later, 1 - later}) {
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
