// r + Linear(x, W, residual = Linear(y, V)) = Linear(x, W, residual = Linear(y, V, residual = r)), for r of the same
// shape: the sum of two branches and what they branched from, in whatever order it was written
#include <algorithm>

#include "opt/linear.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::NodeId;
using ir::Value;

// Where Linear(y, V, residual = r) can stand: where Linear(y, V) stood, if r is known there, else before `last`.
NodeId place_of(const Graph& graph, NodeId inner, Value residual, NodeId last) {
  const NodeId producer = graph.producer(residual);
  if (!producer) return inner;
  const auto order = graph.nodes();
  const auto first = std::find_if(order.begin(), order.end(), [&](NodeId id) { return id == inner || id == producer; });
  return *first == producer ? inner : last;
}

bool apply(Graph& graph, NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (size_t i = 0; i < 2; ++i) {
    auto outer = find_linear(graph, node.inputs[i]);
    auto inner = outer && outer->residual ? find_linear(graph, outer->residual) : std::nullopt;
    const Value residual = node.inputs[1 - i];
    if (!inner || inner->residual || graph.is_constant(residual)) continue;
    if (!same_type(graph, residual, node.inputs[i])) continue;
    const Value alone = outer->residual;
    const NodeId stood = graph.producer(alone);
    inner->residual = residual;
    const NodeId sum = graph.add_node("lathe.Linear", inner->inputs(), inner->attributes, graph.node(stood).name, 1,
                                      place_of(graph, stood, residual, id));
    outer->residual = graph.node(sum).outputs[0];
    // Another value than before, and than any that the graph without fusions has.
    graph.rename(outer->residual, graph.name(alone) + ".with_residual");
    return replace_with(graph, id, *outer);
  }
  return false;
}

}  // namespace

const Rule& linear_residuals_rule() {
  static const Rule rule{.name = "linear_residuals", .roots = {"Add"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
