// f(x G') * (x U') = Linear(x, G, U, activation = f_gate), for f in silu, gelu and gelu's tanh form
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool is_gate(std::string_view activation) {
  return activation == "silu" || activation == "gelu" || activation == "gelu_tanh";
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    auto gate = find_linear(graph, node.inputs[i]);
    const auto up = find_linear(graph, node.inputs[1 - i]);
    if (!gate || !up || node.inputs[0] == node.inputs[1] || !is_gate(gate->activation())) continue;
    if (up->activation() != "none" || gate->residual || up->residual || !same_input(*gate, *up)) continue;
    if (gate->weights.size() != 1 || up->weights.size() != 1 || gate->has_bias() != up->has_bias()) continue;
    if (!same_type(graph, node.inputs[0], node.inputs[1])) continue;
    gate->weights.push_back(up->weights[0]);
    gate->biases.push_back(up->biases[0]);
    gate->attributes.set("activation", gate->activation() + "_gate");
    gate->attributes.set("parts", int64_t{2});
    return replace_with(graph, id, *gate);
  }
  return false;
}

}  // namespace

const Rule& linear_gate_rule() {
  static const Rule rule{.name = "linear_gate", .roots = {"Mul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
