// g(f(x)) = Reshape(x, shape of the result), where f and g only rename dimensions and at most one of the
// result's is unknown.
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node& node = graph.node(id);
  const ir::Node* inner = find_view(graph, node.inputs[0]);
  if (!inner) return false;
  std::vector<int64_t> dims;
  int unknown = 0;
  for (const tensor::Dim& dim : graph.type(node.outputs[0]).shape) {
    // 0 would copy a dimension of x, and leaves -1 undecided.
    if (dim == tensor::Dim(0)) return false;
    unknown += !dim.is_constant();
    dims.push_back(dim.constant().value_or(-1));
  }
  if (unknown > 1) return false;
  const ir::Value x = inner->inputs[0];
  const ir::Value shape = constant_ints(graph, dims);
  return replace_same_type(graph, id, graph.add_node("Reshape", {x, shape}, {}, node.name, 1, id));
}

}  // namespace

const Rule& view_of_view_rule() {
  static const Rule rule{
      .name = "view_of_view", .roots = {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
