// Slice(x) = x, where it starts at 0, steps by 1 and the result has x's dimensions
#include <algorithm>

#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool are_all(const std::optional<std::vector<int64_t>>& values, int64_t wanted) {
  return values && std::all_of(values->begin(), values->end(), [&](int64_t value) { return value == wanted; });
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  if (!same_type(graph, node.inputs[0], node.outputs[0]) || !are_all(known_ints(graph, node.inputs[1]), 0))
    return false;
  const bool steps = node.inputs.size() > 4 && node.inputs[4];
  if (steps && !are_all(known_ints(graph, node.inputs[4]), 1)) return false;
  return replace(graph, id, node.inputs[0]);
}

}  // namespace

const Rule& slice_whole_rule() {
  static const Rule rule{.name = "slice_whole", .roots = {"Slice"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
