// MatMul(x, W) = lathe.Linear(x, W'), for a constant matrix W of floats
#include "opt/linear.h"
#include "tensor/source.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Value x = node.inputs[0], w = node.inputs[1];
  if (!graph.is_constant(w) || graph.type(w).shape.size() != 2 || graph.type(x).shape.empty()) return false;
  if (graph.type(x).dtype != tensor::DType::f32 || graph.source(w)->encoding() != tensor::Encoding::plain) return false;
  if (graph.type(x).shape.size() < 2) return false;  // a vector gives a vector
  Linear linear;
  linear.x = x;
  linear.weights = {transposed_constant(graph, w)};
  linear.biases = {ir::Value{}};
  return replace_with(graph, id, linear);
}

}  // namespace

const Rule& matmul_lowering() {
  static const Rule rule{.name = "matmul", .roots = {"MatMul"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
