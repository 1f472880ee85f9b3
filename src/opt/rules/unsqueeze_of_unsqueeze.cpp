// Unsqueeze(Unsqueeze(x, a), b) = Unsqueeze(x, b and the places that b leaves to a)
#include <algorithm>

#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const ir::Node* inner = find_producer(graph, node.inputs[0], "Unsqueeze");
  if (!inner) return false;
  const auto outer_axes = known_axes(graph, node.inputs[1], graph.type(node.outputs[0]).shape.size());
  const auto inner_axes = known_axes(graph, inner->inputs[1], graph.type(inner->outputs[0]).shape.size());
  if (!outer_axes || !inner_axes) return false;
  std::vector<int64_t> axes = *outer_axes;
  int64_t axis = 0;  // of the inner result
  for (int64_t i = 0; i < int64_t(graph.type(node.outputs[0]).shape.size()); ++i) {
    if (contains(*outer_axes, i)) continue;
    if (contains(*inner_axes, axis)) axes.push_back(i);
    ++axis;
  }
  std::sort(axes.begin(), axes.end());
  const ir::Value x = inner->inputs[0];
  const ir::Value merged = constant_ints(graph, axes);
  return replace_same_type(graph, id, graph.add_node("Unsqueeze", {x, merged}, {}, node.name, 1, id));
}

}  // namespace

const Rule& unsqueeze_of_unsqueeze_rule() {
  static const Rule rule{.name = "unsqueeze_of_unsqueeze", .roots = {"Unsqueeze"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
