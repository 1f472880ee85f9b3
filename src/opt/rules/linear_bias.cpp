// x W' + b = Linear(x, W, b), for a constant vector b as long as W has rows
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    auto linear = find_linear(graph, node.inputs[i]);
    const ir::Value bias = node.inputs[1 - i];
    if (!linear || linear->weights.size() != 1 || linear->has_bias() || linear->residual) continue;
    if (linear->activation() != "none" || !graph.is_constant(bias)) continue;
    const tensor::Shape& shape = graph.type(bias).shape;
    if (shape.size() != 1 || shape[0] != graph.type(linear->weights[0]).shape[0]) continue;
    linear->biases[0] = bias;
    return replace_with(graph, id, *linear);
  }
  return false;
}

}  // namespace

const Rule& linear_bias_rule() {
  static const Rule rule{.name = "linear_bias", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
