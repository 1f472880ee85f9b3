// BatchNormalization(x) = x s + t, with s = scale / sqrt(variance + epsilon) and t = bias - mean s, for constants
#include "opt/channels.h"
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const size_t rank = graph.type(node.inputs[0]).shape.size();
  if (rank < 2 || graph.type(node.inputs[0]).dtype != tensor::DType::f32) return false;
  const auto folded = find_batch_normalization(graph, node);
  if (!folded) return false;
  tensor::Dims dims(rank - 1, 1);
  dims[0] = int64_t(folded->scale.size());
  tensor::Tensor scale(tensor::DType::f32, dims), shift(tensor::DType::f32, dims);
  for (size_t c = 0; c < folded->scale.size(); ++c) {
    scale.data<float>()[c] = float(folded->scale[c]);
    shift.data<float>()[c] = float(folded->shift[c]);
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
