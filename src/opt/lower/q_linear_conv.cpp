// QLinearConv(x, w, b) = lathe.QConv(x, w, scale = x_scale w_scale / y_scale, b, y_zero), for constant w and scales
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

enum Input : size_t { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  if (!graph.is_constant(node.inputs[kW]) || graph.type(node.inputs[kX]).shape.size() > 5) return false;
  const auto x = number_list(graph, node.inputs[kXScale]), w = number_list(graph, node.inputs[kWScale]),
             y = number_list(graph, node.inputs[kYScale]);
  if (!x || !w || !y || w->empty()) return false;
  std::vector<double> scales = product_in_f32(*x, *w);
  for (double& scale : scales) scale = double(float(scale) / float(y->front()));
  const std::string name = graph.source_name(node.inputs[kW]) + ".scale";
  Quantized q{"lathe.QConv", {}, node.attributes};
  q[op::kQX] = node.inputs[kX];
  q[op::kQWeights] = node.inputs[kW];
  q[op::kQXZero] = node.inputs[kXZero];
  q[op::kQWZero] = node.inputs[kWZero];
  q[op::kQScale] = constant_floats(graph, name, scales);
  if (node.inputs.size() > kBias) q[op::kQBias] = node.inputs[kBias];
  q[op::kQYZero] = node.inputs[kYZero];
  return replace_with(graph, id, q);
}

}  // namespace

const Rule& q_linear_conv_lowering() {
  static const Rule rule{.name = "q_linear_conv", .roots = {"QLinearConv"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
