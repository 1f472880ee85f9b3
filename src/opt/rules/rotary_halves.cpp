// concat(x1 cos - x2 sin, x1 sin + x2 cos, rest) = RotaryEmbedding(x, cos, sin), where x1 and x2 are the halves of the
// first n of the last axis of x, and rest is what follows (or nothing)
//
// Heads stand before the positions, [batch, heads, seq, dim], or after them, as rows taken apart.
#include "opt/heads.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

// a and b where `node` is a * b with a part of x's last axis for a.
struct Term {
  LastAxisPart part;
  Value factor;
};
std::optional<Term> find_term(const Graph& graph, Value value) {
  const Node* product = find_producer(graph, value, "Mul");
  for (size_t i = 0; product && i < 2; ++i) {
    if (const auto part = find_part(graph, product->inputs[i])) return Term{*part, product->inputs[1 - i]};
  }
  return std::nullopt;
}

struct Rotation {
  Value x;
  int64_t dims;    // that turn
  Value cos, sin;  // as they multiply: [batch, 1, seq, dims / 2], or [batch, seq, 1, dims / 2]
};

std::optional<Rotation> find_rotation(const Graph& graph, const Node& concat) {
  const Node* real = find_producer(graph, concat.inputs[0], "Sub");
  const Node* imaginary = find_producer(graph, concat.inputs[1], "Add");
  if (!real || !imaginary) return std::nullopt;
  const auto first_cos = find_term(graph, real->inputs[0]), second_sin = find_term(graph, real->inputs[1]);
  if (!first_cos || !second_sin) return std::nullopt;
  const LastAxisPart &first = first_cos->part, &second = second_sin->part;
  const bool halves = first.begin == 0 && second.begin == first.end && second.end == 2 * first.end;
  if (!halves || first.of != second.of) return std::nullopt;
  for (size_t i = 0; i < 2; ++i) {
    const auto first_sin = find_term(graph, imaginary->inputs[i]);
    const auto second_cos = find_term(graph, imaginary->inputs[1 - i]);
    const bool crossed = first_sin && second_cos && first_sin->part.of == first.of && first_sin->part.begin == 0 &&
                         first_sin->part.end == first.end && second_cos->part.of == first.of &&
                         second_cos->part.begin == second.begin && second_cos->part.end == second.end &&
                         first_sin->factor == second_sin->factor && second_cos->factor == first_cos->factor;
    if (crossed) return Rotation{first.of, second.end, first_cos->factor, second_sin->factor};
  }
  return std::nullopt;
}

// The table [batch, seq, n] behind one that has another axis of length 1 at `axis`.
Value table_behind(const Graph& graph, Value value, int64_t axis) {
  const Node* view = find_producer(graph, value, "Unsqueeze");
  const bool fits = view && graph.type(view->inputs[0]).shape.size() == 3 &&
                    known_axes(graph, view->inputs[1], 4) == std::vector<int64_t>{axis};
  return fits ? view->inputs[0] : Value{};
}

bool apply(Graph& graph, NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  if (!joins_last_axis(graph, node) || node.inputs.size() < 2 || node.inputs.size() > 3) return false;
  const auto rotation = find_rotation(graph, node);
  if (!rotation || !same_type(graph, rotation->x, node.outputs[0])) return false;
  const tensor::Shape& shape = graph.type(rotation->x).shape;
  if (shape.size() != 4 || (node.inputs.size() == 2 && shape.back() != tensor::Dim(rotation->dims))) return false;
  if (node.inputs.size() == 3) {
    const auto rest = find_part(graph, node.inputs[2]);
    if (!rest || rest->of != rotation->x || rest->begin != rotation->dims || tensor::Dim(rest->end) != shape.back()) {
      return false;
    }
  }
  op::Attributes attributes;
  if (shape.back() != tensor::Dim(rotation->dims)) attributes.set("rotary_embedding_dim", rotation->dims);
  const auto turn = [&](Value x, int64_t axis) {
    const Value cos = table_behind(graph, rotation->cos, axis), sin = table_behind(graph, rotation->sin, axis);
    if (!cos || !sin) return Value{};
    return graph.node(graph.add_node("RotaryEmbedding", {x, cos, sin}, attributes, node.name, 1, id)).outputs[0];
  };
  if (const Value turned = turn(rotation->x, 1)) return replace(graph, id, turned);
  const Node* reshape = find_producer(graph, rotation->x, "Reshape");
  const auto rows = reshape ? find_rows_of_heads(graph, *reshape) : std::nullopt;
  if (!rows) return false;
  attributes.set("num_heads", rows->heads);
  const Value turned = turn(rows->rows, 2);
  if (!turned) return false;
  return replace(graph, id, graph.node(graph.add_node("Reshape", {turned, rows->shape}, {}, "", 1, id)).outputs[0]);
}

}  // namespace

const Rule& rotary_halves_rule() {
  static const Rule rule{.name = "rotary_halves", .roots = {"Concat"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
