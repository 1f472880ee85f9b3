// Transpose(W) = W', for a constant matrix of floats: it is read by columns when it is packed
#include "opt/linear.h"
#include "tensor/source.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value w = node.inputs[0];
  if (!graph.is_constant(w) || graph.type(w).dtype != tensor::DType::f32 || graph.type(w).shape.size() != 2)
    return false;
  if (graph.source(w)->encoding() != tensor::Encoding::plain) return false;
  if (permutation(graph, node) != std::vector<int64_t>{1, 0} || graph.is_output(node.outputs[0])) return false;
  return replace(graph, id, transposed_constant(graph, w));
}

}  // namespace

const Rule& transposed_constant_lowering() {
  static const Rule rule{.name = "transposed_constant", .roots = {"Transpose"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
