// f(Linear(x, W, b)) = Linear(x, W, b, activation = f), for f in relu, silu, gelu and gelu's tanh form
#include "opt/linear.h"

namespace lathe::opt {
namespace {

std::string activation_of(const ir::Node& node) {
  if (node.op == "Relu") return "relu";
  if (node.op == "Swish") return node.attributes.get_float("alpha", 1) == 1 ? "silu" : "";
  return node.attributes.get_string("approximate", "none") == "tanh" ? "gelu_tanh" : "gelu";
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const std::string activation = activation_of(node);
  auto linear = find_linear(graph, node.inputs[0]);
  if (activation.empty() || !linear || linear->residual || linear->activation() != "none") return false;
  linear->attributes.set("activation", activation);
  return replace_with(graph, id, *linear);
}

}  // namespace

const Rule& linear_activation_rule() {
  static const Rule rule{.name = "linear_activation", .roots = {"Gelu", "Relu", "Swish"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
