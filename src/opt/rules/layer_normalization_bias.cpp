// LayerNormalization(x, w) + b = LayerNormalization(x, w, b), for a vector b along the last axis, in f32
#include "opt/match.h"
#include "opt/norm.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Value bias = node.inputs[1 - i];
    const ir::Node* norm = find_producer(graph, node.inputs[i], "LayerNormalization");
    if (!norm || norm->outputs.size() != 1 || (norm->inputs.size() > 2 && norm->inputs[2])) continue;
    // Read by others too, it would be computed twice; narrower, the sum would no longer round the product.
    if (graph.type(bias).dtype != tensor::DType::f32 || !is_along_last_axis(graph, bias, node.inputs[i])) continue;
    if (!used_once(graph, node.inputs[i])) return context.miss("the normalised value is read without the bias, too");
    const op::Attributes attributes = norm->attributes;
    const std::vector<ir::Value> inputs = {norm->inputs[0], norm->inputs[1], bias};
    return replace_same_type(graph, id, graph.add_node("LayerNormalization", inputs, attributes, norm->name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& layer_normalization_bias_rule() {
  static const Rule rule{
      .name = "layer_normalization_bias", .roots = {"Add"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
