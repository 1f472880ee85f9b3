// g(f(x)) = x, where f and g only rename dimensions and the result has the shape of x: elements keep their
// order.
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const ir::Node* inner = find_view(graph, node.inputs[0]);
  if (!inner || !same_type(graph, inner->inputs[0], node.outputs[0])) return false;
  return replace(graph, id, inner->inputs[0]);
}

}  // namespace

const Rule& view_cancels_rule() {
  static const Rule rule{
      .name = "view_cancels", .roots = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
