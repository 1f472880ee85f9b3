// [x A', x B', ...] = Linear(x, A, B, ...), side by side along the last axis
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const int64_t rank = int64_t(graph.type(node.outputs[0]).shape.size());
  const int64_t axis = node.attributes.get_int("axis", 0);
  if (node.inputs.size() < 2 || (axis != -1 && axis != rank - 1)) return false;
  std::optional<Linear> joined;
  for (const ir::Value input : node.inputs) {
    auto linear = find_linear(graph, input);
    if (!linear || linear->residual || linear->activation() != "none") return false;
    if (!joined) {
      joined = std::move(linear);
      continue;
    }
    if (!same_input(*joined, *linear) || joined->has_bias() != linear->has_bias()) return false;
    joined->weights.insert(joined->weights.end(), linear->weights.begin(), linear->weights.end());
    joined->biases.insert(joined->biases.end(), linear->biases.begin(), linear->biases.end());
  }
  if (joined->has_bias() && !joined->biases.back()) return false;
  joined->attributes.set("parts", int64_t(joined->weights.size()));
  return replace_with(graph, id, *joined);
}

}  // namespace

const Rule& linear_concat_rule() {
  static const Rule rule{.name = "linear_concat", .roots = {"Concat"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
