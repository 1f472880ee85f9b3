// Mul(Cast(s), x_scale * scale) = s with these scales, for sums s of lathe.QConv or lathe.QLinear, a constant scale for
// all or for each feature, and an x_scale that the run may give
#include <algorithm>

#include "opt/quantized.h"

namespace lathe::opt {
namespace {

struct Factor {
  ir::Value x_scale;           // absent: 1
  std::vector<double> scales;  // of all features, or one
};

std::optional<Factor> find_factor(const ir::Graph& graph, const Quantized& q, ir::Value value, size_t rank) {
  const auto numbers = [&](ir::Value v) { return feature_numbers(graph, q, v, rank); };
  if (auto scales = numbers(value)) return Factor{{}, *std::move(scales)};
  const ir::Node* product = find_producer(graph, value, "Mul");
  for (size_t i = 0; product && i < 2; ++i) {
    const ir::Value x_scale = product->inputs[i], scale = product->inputs[1 - i];
    if (graph.is_constant(x_scale) || !is_single(graph, x_scale)) continue;
    if (auto scales = numbers(scale)) return Factor{x_scale, *std::move(scales)};
  }
  if (is_single(graph, value)) return Factor{value, {1}};
  return std::nullopt;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    const ir::Node* cast = find_producer(graph, node.inputs[i], "Cast");
    if (!cast || !used_once(graph, node.inputs[i])) continue;
    if (!same_type(graph, node.inputs[i], node.outputs[0])) continue;
    auto q = find_quantized(graph, cast->inputs[0]);
    if (!q || !q->gives_sums() || graph.type(node.outputs[0]).dtype != tensor::DType::f32) continue;
    const auto factor = find_factor(graph, *q, node.inputs[1 - i], graph.type(node.outputs[0]).shape.size());
    if (!factor || factor->scales.empty()) continue;
    (*q)[op::kQXScale] = factor->x_scale;
    const std::string name = graph.source_name((*q)[op::kQWeights]) + ".scale";
    (*q)[op::kQScale] = constant_floats(graph, name, factor->scales);
    return replace_with(graph, id, *q);
  }
  return false;
}

}  // namespace

const Rule& q_scale_lowering() {
  static const Rule rule{.name = "q_scale", .roots = {"Mul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
