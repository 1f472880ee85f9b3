// Shape(Cast(x)) = Shape(x)
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node* cast = find_producer(graph, graph.node(id).inputs[0], "Cast");
  if (!cast) return false;
  graph.set_input(id, 0, cast->inputs[0]);
  return true;
}

}  // namespace

const Rule& shape_of_cast_rule() {
  static const Rule rule{.name = "shape_of_cast", .roots = {"Shape", "Size"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
