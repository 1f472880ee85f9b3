// alpha A' B' = FusedMatMul(A, B), where ' may be a transposition of the last two axes
#include "opt/contrib.h"
#include "opt/formula.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// What `value` is the transposition of, in its last two axes; absent for weights, which are stored transposed.
Value transposed(const Graph& graph, Value value) {
  const Node* node = find_producer(graph, value, "Transpose");
  if (!node || graph.is_constant(node->inputs[0])) return {};
  std::vector<int64_t> perm = permutation(graph, *node);
  if (perm.size() < 2) return {};
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  for (size_t i = 0; i < perm.size(); ++i) {
    if (perm[i] != int64_t(i)) return {};
  }
  return node->inputs[0];
}

// The result times a number, where nobody else reads the result.
struct Scaled {
  Value value;
  double factor;
};
Scaled scaled(const Graph& graph, Value product) {
  if (!used_once(graph, product) || graph.is_output(product)) return {product, 1};
  const Node& user = graph.node(graph.users(product)[0]);
  if (user.op != "Mul" && user.op != "Div") return {product, 1};
  const Value result = user.outputs[0];
  const auto number = find_number(graph, user.inputs[user.inputs[0] == product ? 1 : 0]);
  if (!number || !same_type(graph, product, result)) return {product, 1};
  if (user.op == "Mul") return {result, *number};
  return user.inputs[0] == product && *number != 0 ? Scaled{result, 1 / *number} : Scaled{product, 1};
}

bool apply(Graph& graph, ir::NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  if (!all_f32(graph, node.inputs)) return false;
  const Value a = transposed(graph, node.inputs[0]), b = transposed(graph, node.inputs[1]);
  const Scaled result = scaled(graph, node.outputs[0]);
  const bool vector = graph.type(node.inputs[0]).shape.size() < 2 || graph.type(node.inputs[1]).shape.size() < 2;
  if (vector || (!a && !b && result.factor == 1)) return false;
  const ContribCall call{.op = "FusedMatMul",
                         .inputs = {a ? a : node.inputs[0], b ? b : node.inputs[1]},
                         .attributes = {{"alpha", result.factor}, {"transA", int64_t(a ? 1 : 0)},
                                        {"transB", int64_t(b ? 1 : 0)}},
                         .results = {result.value}};
  return replace_by_call(graph, call, id);
}

}  // namespace

const ContribRule& fused_mat_mul_contrib() {
  static const ContribRule rule{.rule = {.name = "contrib_fused_mat_mul", .roots = {"MatMul"}, .apply = apply}};
  return rule;
}

}  // namespace lathe::opt
