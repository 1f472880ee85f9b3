// lathe.Conv(x, w, b) + r = lathe.Conv(x, w, b, r), for r of the same shape; behind an activation it is added last
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  // The later of two convolutions takes the other one's result.
  for (const size_t i : {size_t{1}, size_t{0}}) {
    const ir::Node* conv = find_producer(graph, node.inputs[i], "lathe.Conv");
    const ir::Value residual = node.inputs[1 - i];
    if (!conv || !used_once(graph, node.inputs[i]) || conv->inputs.size() > 3) continue;
    if (graph.is_constant(residual) || !same_type(graph, residual, node.outputs[0])) continue;
    if (i == 0 && find_producer(graph, residual, "lathe.Conv") && used_once(graph, residual)) continue;
    std::vector<ir::Value> inputs = conv->inputs;
    op::Attributes attributes = conv->attributes;
    inputs.resize(3);
    inputs.push_back(residual);
    if (attributes.has("activation")) attributes.set("residual_last", int64_t{1});
    return replace_with(graph, id, "lathe.Conv", std::move(inputs), std::move(attributes));
  }
  return false;
}

}  // namespace

const Rule& conv_residual_lowering() {
  static const Rule rule{.name = "conv_residual", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
