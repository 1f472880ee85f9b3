// BatchNormalization(x) = x s + t, with s = scale / sqrt(variance + epsilon) and t = bias - mean s, for constants
#include <cmath>

#include "opt/channels.h"
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const size_t rank = graph.type(node.inputs[0]).shape.size();
  if (node.outputs.size() != 1 || node.attributes.get_int("training_mode", 0) != 0 || rank < 2) return false;
  if (graph.type(node.inputs[0]).dtype != tensor::DType::f32) return false;
  std::vector<std::vector<double>> numbers;  // scale, bias, mean, variance
  for (size_t i = 1; i < 5; ++i) {
    auto values = constant_numbers(graph, node.inputs[i]);
    if (!values || (i > 1 && values->size() != numbers[0].size())) return false;
    numbers.push_back(std::move(*values));
  }
  const double epsilon = node.attributes.get_float("epsilon", 1e-5);
  tensor::Dims dims(rank - 1, 1);
  dims[0] = int64_t(numbers[0].size());
  tensor::Tensor scale(tensor::DType::f32, dims), shift(tensor::DType::f32, dims);
  for (size_t c = 0; c < numbers[0].size(); ++c) {
    const double s = numbers[0][c] / std::sqrt(numbers[3][c] + epsilon);
    scale.data<float>()[c] = float(s);
    shift.data<float>()[c] = float(numbers[1][c] - numbers[2][c] * s);
  }
  const std::string name = graph.source_name(node.inputs[1]);  // a copy: adding constants moves names
  const ir::Value s = graph.add_constant(name + ".factor", scale);
  const ir::Value t = graph.add_constant(name + ".term", shift);
  const ir::NodeId product = graph.add_node("Mul", {node.inputs[0], s}, {}, node.name, 1, id);
  return replace_with(graph, id, "Add", {graph.node(product).outputs[0], t}, {});
}

}  // namespace

const Rule& batch_normalization_lowering() {
  static const Rule rule{.name = "batch_normalization", .roots = {"BatchNormalization"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
