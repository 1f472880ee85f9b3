// y * (1 / x) = y / x, for floats, where nothing else reads the quotient
#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

// x where `value` is 1 / x.
ir::Value find_reciprocal(const ir::Graph& graph, ir::Value value) {
  if (const ir::Node* node = find_producer(graph, value, "Reciprocal")) return node->inputs[0];
  const ir::Node* quotient = find_producer(graph, value, "Div");
  return quotient && find_number(graph, quotient->inputs[0]) == 1.0 ? quotient->inputs[1] : ir::Value{};
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  if (!tensor::is_float(graph.type(node.outputs[0]).dtype)) return false;
  for (size_t i = 0; i < 2; ++i) {
    const ir::Value x = find_reciprocal(graph, node.inputs[i]);
    if (!x || node.inputs[0] == node.inputs[1]) continue;
    if (!used_once(graph, node.inputs[i])) return context.miss("others read the quotient, too");
    return replace_same_type(graph, id, graph.add_node("Div", {node.inputs[1 - i], x}, {}, node.name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& mul_reciprocal_rule() {
  static const Rule rule{.name = "mul_reciprocal", .roots = {"Mul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
