// Concat(x) = x
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  if (node.inputs.size() != 1) return false;
  return replace(graph, id, node.inputs[0]);
}

}  // namespace

const Rule& concat_single_rule() {
  static const Rule rule{.name = "concat_single", .roots = {"Concat"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
