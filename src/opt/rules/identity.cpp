// Identity(x) = x, where the name of a graph output can move to x.
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const ir::Value x = node.inputs[0];
  const bool named = graph.is_output(node.outputs[0]);
  if (named && (graph.kind(x) != ir::ValueKind::result || graph.is_output(x))) return false;
  return replace(graph, id, x);
}

}  // namespace

const Rule& identity_rule() {
  static const Rule rule{.name = "identity", .roots = {"Identity"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
