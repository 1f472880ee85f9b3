// Where(Not(c), x, y) = Where(c, y, x)
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Node* negation = find_producer(graph, node.inputs[0], "Not");
  if (!negation) return false;
  const std::vector<ir::Value> inputs = {negation->inputs[0], node.inputs[2], node.inputs[1]};
  return replace_same_type(graph, id, graph.add_node("Where", inputs, {}, node.name, 1, id));
}

}  // namespace

const Rule& where_not_rule() {
  static const Rule rule{.name = "where_not", .roots = {"Where"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
