// QLinearMatMul(a, B) = lathe.QLinear(a, B', scale = a_scale b_scale / y_scale, y_zero), for a constant matrix B and
// constant scales, of a and y one each
#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

enum Input : size_t { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale, kYZero };

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value b = node.inputs[kB];
  if (!is_byte(graph, node.inputs[kA]) || !is_byte(graph, b) || !is_byte(graph, node.inputs[kYZero])) return false;
  if (!graph.is_constant(b) || graph.type(b).shape.size() != 2) return false;
  for (const size_t i : {kAScale, kAZero, kYScale, kYZero}) {
    if (!is_single(graph, node.inputs[i])) return false;
  }
  for (const size_t i : {kBScale, kBZero}) {
    if (graph.type(node.inputs[i]).shape.size() > 1) return false;
  }
  if (graph.type(node.inputs[kAScale]).dtype != tensor::DType::f32) return false;
  const auto a_scale = number_list(graph, node.inputs[kAScale]), b_scale = number_list(graph, node.inputs[kBScale]),
             y_scale = number_list(graph, node.inputs[kYScale]);
  if (!a_scale || !b_scale || !y_scale || b_scale->empty()) return false;
  std::vector<double> scales = product_in_f32(*a_scale, *b_scale);
  for (double& scale : scales) scale = double(float(scale) / float(y_scale->front()));
  const std::string name = graph.source_name(b) + ".scale";
  Quantized q{"lathe.QLinear", {}, {}};
  q[op::kQX] = node.inputs[kA];
  q[op::kQWeights] = transposed_constant(graph, b);
  q[op::kQXZero] = node.inputs[kAZero];
  q[op::kQWZero] = node.inputs[kBZero];
  q[op::kQScale] = constant_floats(graph, name, scales);
  q[op::kQYZero] = node.inputs[kYZero];
  return replace_with(graph, id, q);
}

}  // namespace

const Rule& q_linear_matmul_lowering() {
  static const Rule rule{.name = "q_linear_matmul", .roots = {"QLinearMatMul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
