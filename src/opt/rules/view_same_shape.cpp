// Reshape(x, shape of x) = x, and so for every operator that only renames dimensions.
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  if (!same_type(graph, node.inputs[0], node.outputs[0])) return false;
  return replace(graph, id, node.inputs[0]);
}

}  // namespace

const Rule& view_same_shape_rule() {
  static const Rule rule{.name = "view_same_shape",
                         .roots = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand"},
                         .apply = apply};
  return rule;
}

}  // namespace lathe::opt
