// Concat(.., x, ..) = Concat(.., ..), where x has no elements along the axis and something else has
#include <algorithm>

#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const int64_t rank = int64_t(graph.type(node.outputs[0]).shape.size());
  const int64_t axis = node.attributes.get_int("axis", 0);
  const size_t index = size_t(axis < 0 ? axis + rank : axis);
  std::vector<ir::Value> rest = node.inputs;
  std::erase_if(rest, [&](ir::Value input) { return graph.type(input).shape[index] == tensor::Dim(0); });
  if (rest.empty() || rest.size() == node.inputs.size()) return false;
  return replace_same_type(graph, id, graph.add_node("Concat", std::move(rest), node.attributes, node.name, 1, id));
}

}  // namespace

const Rule& concat_empty_rule() {
  static const Rule rule{.name = "concat_empty", .roots = {"Concat"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
