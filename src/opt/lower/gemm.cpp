// Gemm(x, W, b) = lathe.Linear(x, W', b), for constant W and b, x as it is, no factors
#include "opt/linear.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const op::Attributes& attributes = node.attributes;
  const ir::Value w = node.inputs[1];
  const ir::Value bias = node.inputs.size() > 2 ? node.inputs[2] : ir::Value{};
  if (graph.type(node.inputs[0]).dtype != tensor::DType::f32 || !graph.is_constant(w)) return false;
  if (graph.source(w)->encoding() != tensor::Encoding::plain || attributes.get_int("transA", 0) != 0) return false;
  if (attributes.get_float("alpha", 1) != 1 || (bias && attributes.get_float("beta", 1) != 1)) return false;
  const bool transposed = attributes.get_int("transB", 0) != 0;
  const tensor::Dim columns = graph.type(w).shape[transposed ? 0 : 1];
  if (bias && (!graph.is_constant(bias) || graph.type(bias).shape != tensor::Shape{columns})) return false;
  Linear linear;
  linear.x = node.inputs[0];
  linear.weights = {transposed ? w : transposed_constant(graph, w)};
  linear.biases = {bias};
  return replace_with(graph, id, linear);
}

}  // namespace

const Rule& gemm_lowering() {
  static const Rule rule{.name = "gemm", .roots = {"Gemm"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
