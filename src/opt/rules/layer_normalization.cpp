// (x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) * w = LayerNormalization(x, w), for a vector w along the last axis
#include "opt/match.h"
#include "opt/norm.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Value weight = node.inputs[i];
    const auto normalized = find_normalized(graph, node.inputs[1 - i]);
    const ir::Value x = normalized ? find_centred(graph, normalized->x) : ir::Value{};
    if (!x) continue;
    if (const tensor::DType dtype = graph.type(x).dtype; dtype != tensor::DType::f32) {
      return context.miss("its steps round to {}", to_string(dtype));
    }
    if (!is_along_last_axis(graph, weight, x) || !same_type(graph, x, node.outputs[0])) {
      return context.miss("the factor {} is not a vector along the last axis of {}", op::to_string(graph.type(weight)),
                          op::to_string(graph.type(x)));
    }
    op::Attributes attributes = {{"axis", int64_t{-1}}, {"epsilon", normalized->epsilon}};
    return replace_same_type(
        graph, id, graph.add_node("LayerNormalization", {x, weight}, std::move(attributes), node.name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& layer_normalization_rule() {
  static const Rule rule{.name = "layer_normalization", .roots = {"Mul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
