// Transpose(Transpose(x, p), q) = Transpose(x, p o q): axis i of the result is axis p[q[i]] of x
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const ir::Node* inner = find_producer(graph, node.inputs[0], "Transpose");
  if (!inner) return false;
  const std::vector<int64_t> p = permutation(graph, *inner);
  std::vector<int64_t> perm = permutation(graph, node);
  for (int64_t& axis : perm) axis = p[size_t(axis)];
  const ir::Value x = inner->inputs[0];
  return replace_same_type(graph, id, graph.add_node("Transpose", {x}, {{"perm", perm}}, node.name, 1, id));
}

}  // namespace

const Rule& transpose_of_transpose_rule() {
  static const Rule rule{.name = "transpose_of_transpose", .roots = {"Transpose"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
