// q + b = q with bias b, for floats q of lathe.QConv or lathe.QLinear and a constant b for each feature
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    auto q = find_quantized(graph, node.inputs[i]);
    if (!q || !q->gives_floats() || q->has(op::kQBias) || q->has(op::kQResidual) || q->attributes.has("activation"))
      continue;
    if (!same_type(graph, node.inputs[i], node.outputs[0])) continue;
    auto bias = feature_numbers(graph, *q, node.inputs[1 - i], graph.type(node.outputs[0]).shape.size());
    const auto features = graph.type((*q)[op::kQWeights]).shape[0].constant();
    if (!bias || bias->empty() || !features) continue;
    bias->resize(size_t(*features), bias->front());
    const std::string name = graph.source_name(node.inputs[1 - i]) + ".vector";
    (*q)[op::kQBias] = constant_floats(graph, name, *bias);
    return replace_with(graph, id, *q);
  }
  return false;
}

}  // namespace

const Rule& q_bias_lowering() {
  static const Rule rule{.name = "q_bias", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
