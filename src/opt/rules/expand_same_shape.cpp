// Expand(x) = x, where the result has x's dimensions
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  return same_type(graph, node.inputs[0], node.outputs[0]) && replace(graph, id, node.inputs[0]);
}

}  // namespace

const Rule& expand_same_shape_rule() {
  static const Rule rule{.name = "expand_same_shape", .roots = {"Expand"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
