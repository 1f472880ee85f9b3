// view(Gemm(rows(x), W, b)) = x W + b, where rows puts the rows of x below each other and view back to where they were
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

// Whether the Gemm is A B or A B', plus C as it is.
bool is_unscaled(const Graph& graph, const Node& gemm) {
  const bool adds = gemm.inputs.size() > 2 && gemm.inputs[2];
  if (gemm.attributes.get_int("transA", 0) != 0 || gemm.attributes.get_float("alpha", 1) != 1) return false;
  return !adds || (gemm.attributes.get_float("beta", 1) == 1 &&
                   graph.type(gemm.inputs[2]).shape == tensor::Shape{graph.type(gemm.outputs[0]).shape[1]});
}

bool apply(Graph& graph, NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  const Node* found = find_producer(graph, node.inputs[0], "Gemm");
  const Node* rows = found ? find_view(graph, found->inputs[0]) : nullptr;
  if (!rows || !is_unscaled(graph, *found) || !used_once(graph, node.inputs[0])) return false;
  const Node gemm = *found;
  const Value x = rows->inputs[0];
  tensor::Shape shape = graph.type(x).shape;
  if (shape.size() < 2 || shape.back() != graph.type(gemm.inputs[0]).shape[1]) return false;
  shape.back() = graph.type(gemm.outputs[0]).shape[1];
  if (graph.type(node.outputs[0]).shape != shape) return false;
  const auto add = [&](std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {}) {
    return graph.node(graph.add_node(op, std::move(inputs), std::move(attributes), gemm.name, 1, id)).outputs[0];
  };
  Value matrix = gemm.inputs[1];
  if (gemm.attributes.get_int("transB", 0) != 0) {
    matrix = add("Transpose", {matrix}, {{"perm", std::vector<int64_t>{1, 0}}});
  }
  Value result = add("MatMul", {x, matrix});
  if (gemm.inputs.size() > 2 && gemm.inputs[2]) result = add("Add", {result, gemm.inputs[2]});
  return replace(graph, id, result);
}

}  // namespace

const Rule& gemm_rows_rule() {
  static const Rule rule{.name = "gemm_rows", .roots = {"Reshape", "Unsqueeze"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
