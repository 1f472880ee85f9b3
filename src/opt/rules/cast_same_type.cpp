// Cast(x, to = type of x) = x
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

const Rule& cast_same_type_rule() {
  static const Rule rule{.name = "cast_same_type", .roots = {"Cast", "CastLike"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
