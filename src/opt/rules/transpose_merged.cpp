// Reshape(Transpose(Reshape(x: [a.., m, n], [b, m, n]), (0, 2, 1)), [a.., n, m]) = Transpose(x, last two axes
// exchanged)
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Node* transpose = find_producer(graph, node.inputs[0], "Transpose");
  const ir::Node* merge = transpose ? find_producer(graph, transpose->inputs[0], "Reshape") : nullptr;
  if (!merge || permutation(graph, *transpose) != std::vector<int64_t>{0, 2, 1}) return false;
  const ir::Value x = merge->inputs[0];
  const tensor::Shape& from = graph.type(x).shape;
  const tensor::Shape& merged = graph.type(merge->outputs[0]).shape;
  const tensor::Shape& to = graph.type(node.outputs[0]).shape;
  const size_t rank = from.size();
  if (rank < 3 || to.size() != rank) return false;
  if (from[rank - 2] != merged[1] || from[rank - 1] != merged[2]) return false;
  if (to[rank - 2] != merged[2] || to[rank - 1] != merged[1]) return false;
  if (!std::equal(from.begin(), from.end() - 2, to.begin())) return false;
  std::vector<int64_t> perm;
  for (size_t i = 0; i < rank; ++i) perm.push_back(int64_t(i));
  std::swap(perm[rank - 2], perm[rank - 1]);
  return replace_same_type(graph, id, graph.add_node("Transpose", {x}, {{"perm", perm}}, node.name, 1, id));
}

}  // namespace

const Rule& transpose_merged_rule() {
  static const Rule rule{.name = "transpose_merged", .roots = {"Reshape"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
