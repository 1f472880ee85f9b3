#include "opt/heads.h"

#include "opt/match.h"

namespace lathe::opt {

std::optional<SplitHeads> find_split(const ir::Graph& graph, ir::Value value) {
  const ir::Node* transpose = find_producer(graph, value, "Transpose");
  if (!transpose || permutation(graph, *transpose) != std::vector<int64_t>{0, 2, 1, 3}) return std::nullopt;
  const ir::Node* reshape = find_producer(graph, transpose->inputs[0], "Reshape");
  return reshape ? find_rows_of_heads(graph, *reshape) : std::nullopt;
}

std::optional<SplitHeads> find_rows_of_heads(const ir::Graph& graph, const ir::Node& reshape) {
  const tensor::Shape& rows = graph.type(reshape.inputs[0]).shape;
  const tensor::Shape& apart = graph.type(reshape.outputs[0]).shape;
  const bool splits = rows.size() == 3 && apart.size() == 4 && rows[0] == apart[0] && rows[1] == apart[1] &&
                      apart[2].is_constant() && apart[2] * apart[3] == rows[2];
  if (!splits) return std::nullopt;
  return SplitHeads{reshape.inputs[0], reshape.inputs[1], apart[2].value()};
}

ir::Value split_heads(ir::Graph& graph, ir::Value rows, ir::Value shape, ir::NodeId before) {
  const ir::Value apart = graph.node(graph.add_node("Reshape", {rows, shape}, {}, "", 1, before)).outputs[0];
  const std::vector<int64_t> perm{0, 2, 1, 3};
  return graph.node(graph.add_node("Transpose", {apart}, {{"perm", perm}}, "", 1, before)).outputs[0];
}

}  // namespace lathe::opt
