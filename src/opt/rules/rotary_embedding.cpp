// x * cos + concat(-x2, x1) * sin = RotaryEmbedding(x, cos', sin'), where x = concat(x1, x2) in halves of the last axis
// and cos, sin [batch, 1, seq, dim] hold cos' and sin' [batch, seq, dim / 2] twice
#include "opt/match.h"
#include "opt/rotary.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// The table [batch, seq, dim] behind [batch, 1, seq, dim].
Value table_behind(const Graph& graph, Value value) {
  const Node* view = find_producer(graph, value, "Unsqueeze");
  if (!view || graph.type(view->inputs[0]).shape.size() != 3) return {};
  const auto axes = known_axes(graph, view->inputs[1], 4);
  return axes == std::vector<int64_t>{1} && is_doubled(graph, view->inputs[0]) ? view->inputs[0] : Value{};
}

// x of concat(-x2, x1).
Value rotated_half(const Graph& graph, Value value) {
  const Node* concat = find_producer(graph, value, "Concat");
  if (!concat || concat->inputs.size() != 2) return {};
  const int64_t axis = concat->attributes.get_int("axis", 0);
  if (axis != -1 && axis != int64_t(graph.type(value).shape.size()) - 1) return {};
  const Node* negated = find_producer(graph, concat->inputs[0], "Neg");
  const auto second = negated ? find_part(graph, negated->inputs[0]) : std::nullopt;
  const auto first = find_part(graph, concat->inputs[1]);
  if (!first || !second || first->of != second->of) return {};
  const int64_t length = graph.type(first->of).shape.back().value();
  const bool halves =
      first->begin == 0 && first->end * 2 == length && second->begin == first->end && second->end == length;
  return halves ? first->of : Value{};
}

bool apply(Graph& graph, ir::NodeId id, RuleContext& context) {
  const Node sum = graph.node(id);
  for (const size_t side : {size_t{0}, size_t{1}}) {
    const Node* straight = find_producer(graph, sum.inputs[side], "Mul");
    const Node* turned = find_producer(graph, sum.inputs[1 - side], "Mul");
    if (!straight || !turned) return false;
    for (const size_t i : {size_t{0}, size_t{1}}) {
      const Value x = rotated_half(graph, turned->inputs[i]);
      if (!x || graph.type(x).shape.size() != 4) continue;
      const size_t k = straight->inputs[0] == x ? 0 : 1;
      if (straight->inputs[k] != x) continue;
      const Value cos = table_behind(graph, straight->inputs[1 - k]);
      const Value sin = table_behind(graph, turned->inputs[1 - i]);
      if (!cos || !sin || !same_type(graph, x, sum.outputs[0])) {
        context.miss("cos or sin is not [batch, 1, positions, n] of two equal halves");
        continue;
      }
      const Value half_cos = half_of(graph, cos, id);
      const Value half_sin = half_of(graph, sin, id);
      return replace(
          graph, id,
          graph.node(graph.add_node("RotaryEmbedding", {x, half_cos, half_sin}, {}, sum.name, 1, id)).outputs[0]);
    }
  }
  return false;
}

}  // namespace

const Rule& rotary_embedding_rule() {
  static const Rule rule{.name = "rotary_embedding", .roots = {"Add"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
