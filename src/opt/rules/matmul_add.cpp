// a b + c = Gemm(a, b, c), for matrices of floats and a constant c of one number for each column
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext& context) {
  const ir::Node node = graph.node(id);
  if (!tensor::is_float(graph.type(node.outputs[0]).dtype)) return false;
  for (size_t i = 0; i < 2; ++i) {
    const ir::Node* product = find_producer(graph, node.inputs[i], "MatMul");
    if (!product || !graph.is_constant(node.inputs[1 - i])) continue;
    const auto is_matrix = [&](ir::Value value) { return graph.type(value).shape.size() == 2; };
    if (!is_matrix(product->inputs[0]) || !is_matrix(product->inputs[1])) continue;
    if (!used_once(graph, node.inputs[i])) {
      context.miss("the product is read by others, too");
      continue;
    }
    if (graph.type(node.inputs[1 - i]).shape != tensor::Shape{graph.type(node.inputs[i]).shape[1]}) continue;
    const std::vector<ir::Value> inputs = {product->inputs[0], product->inputs[1], node.inputs[1 - i]};
    return replace_same_type(graph, id, graph.add_node("Gemm", inputs, {}, product->name, 1, id));
  }
  return false;
}

}  // namespace

const Rule& matmul_add_rule() {
  static const Rule rule{.name = "matmul_add", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
