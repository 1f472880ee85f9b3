// softmax(scale q k' + mask) v = Attention(q, k, v, mask), with k and v repeated for groups of heads, and with
// past_key and past_value where k and v are these and new ones joined
//
// A row that sees nothing gives 0, as it does where the pattern replaces NaN by 0; without that it gave NaN.
#include <algorithm>
#include <cmath>
#include <limits>

#include "opt/formula.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

// x where value = x * factor; the factor of Mul and Div by scalar constants is multiplied into `scale`.
Value without_scale(const Graph& graph, Value value, double& scale) {
  const auto product = find_with_number(graph, value, "Mul");
  if (product && same_type(graph, product->value, value)) {
    scale *= product->number;
    return product->value;
  }
  if (const Node* quotient = find_producer(graph, value, "Div")) {
    const auto divisor = find_number(graph, quotient->inputs[1]);
    if (divisor && *divisor != 0 && same_type(graph, quotient->inputs[0], value)) {
      scale /= *divisor;
      return quotient->inputs[0];
    }
  }
  return value;
}

// [batch, kv_heads, len, dim] behind heads that are each repeated `heads / kv_heads` times in a row.
Value without_repeats(const Graph& graph, Value value) {
  const Node* reshape = find_producer(graph, value, "Reshape");
  const Node* expand = reshape ? find_producer(graph, reshape->inputs[0], "Expand") : nullptr;
  const Node* view = expand ? find_producer(graph, expand->inputs[0], "Unsqueeze") : nullptr;
  if (!view || known_axes(graph, view->inputs[1], 5) != std::vector<int64_t>{2}) return value;
  const tensor::Shape& from = graph.type(view->inputs[0]).shape;
  const tensor::Shape& wide = graph.type(expand->outputs[0]).shape;
  const tensor::Shape& to = graph.type(value).shape;
  if (from.size() != 4 || wide.size() != 5 || to.size() != 4) return value;
  const bool repeats = wide[0] == from[0] && wide[1] == from[1] && wide[3] == from[2] && wide[4] == from[3] &&
                       to[0] == from[0] && to[1] == wide[1] * wide[2] && to[2] == from[2] && to[3] == from[3];
  return repeats ? view->inputs[0] : value;
}

// The mask of Attention that stands for what is added to the scores: booleans where it is 0 or -infinity by them.
Value mask_of(const Graph& graph, Value added) {
  const Node* choice = find_producer(graph, added, "Where");
  if (!choice || !all_equal(graph, choice->inputs[1], 0)) return added;
  const bool hides = all_equal(graph, choice->inputs[2], -std::numeric_limits<double>::infinity());
  return hides && graph.type(choice->inputs[0]).shape == graph.type(added).shape ? choice->inputs[0] : added;
}

struct Match {
  Value q, k, v, mask;
  double scale = 1;
  bool rows_first = false;  // k is [batch, len, heads, dim]: its transposition to heads was joined with that to columns
};

// The softmax behind Where(IsNaN(p), 0, p), or p itself.
Value without_nan_guard(const Graph& graph, Value p) {
  const Node* choice = find_producer(graph, p, "Where");
  const Node* test = choice ? find_producer(graph, choice->inputs[0], "IsNaN") : nullptr;
  const bool guards = test && test->inputs[0] == choice->inputs[2] && all_equal(graph, choice->inputs[1], 0);
  return guards ? choice->inputs[2] : p;
}

std::optional<Match> find_scores(const Graph& graph, Value scores, RuleContext& context) {
  Match match;
  scores = without_scale(graph, scores, match.scale);
  const Node* product = find_producer(graph, scores, "MatMul");
  if (!product) return std::nullopt;
  match.q = without_scale(graph, product->inputs[0], match.scale);
  const Node* transpose = find_producer(graph, without_scale(graph, product->inputs[1], match.scale), "Transpose");
  if (!transpose) {
    context.miss("the keys \"{}\" are not transposed here", graph.name(product->inputs[1]));
    return std::nullopt;
  }
  const std::vector<int64_t> perm = permutation(graph, *transpose);
  match.rows_first = perm == std::vector<int64_t>{0, 2, 3, 1};
  if (!match.rows_first && perm != std::vector<int64_t>{0, 1, 3, 2}) {
    context.miss("the keys are transposed by {}", tensor::to_string(std::span(perm)));
    return std::nullopt;
  }
  match.k = without_scale(graph, transpose->inputs[0], match.scale);
  return match;
}

// Why q, k and v, one of them [batch, heads, len, dim], do not belong together; empty where they do.
std::string misfit(const Graph& graph, const Match& match) {
  const tensor::Shape& q = graph.type(match.q).shape;
  tensor::Shape k = graph.type(match.k).shape;
  if (match.rows_first && k.size() == 4) std::swap(k[1], k[2]);
  const tensor::Shape& v = graph.type(match.v).shape;
  if (q.size() != 4 || k.size() != 4 || v.size() != 4 || k[1] != v[1] || k[2] != v[2]) {
    return fmt::format("queries {}, keys {} and values {} do not fit each other", tensor::to_string(q),
                       tensor::to_string(k), tensor::to_string(v));
  }
  // A mask that is too short for Attention hides the rest; one that is added is broadcast.
  if (match.mask && (graph.type(match.mask).shape.empty() || graph.type(match.mask).shape.back() != k[2])) {
    return fmt::format("the mask {} is not as long as the keys, {}", op::to_string(graph.type(match.mask)),
                       k[2].to_string());
  }
  const auto heads = q[1].constant(), kv_heads = k[1].constant();
  if (heads && kv_heads && *kv_heads >= 1 && *heads % *kv_heads == 0) return "";
  return fmt::format("{} heads cannot share {}", q[1].to_string(), k[1].to_string());
}

std::optional<Match> find_match(const Graph& graph, const Node& node, RuleContext& context) {
  const Node* softmax = find_producer(graph, without_nan_guard(graph, node.inputs[0]), "Softmax");
  if (!softmax || graph.type(node.outputs[0]).shape.size() != 4) return std::nullopt;
  const int64_t axis = softmax->attributes.get_int("axis", -1);
  if (axis != -1 && axis != 3) return std::nullopt;
  std::optional<Match> match = find_scores(graph, softmax->inputs[0], context);
  if (const Node* sum = match ? nullptr : find_producer(graph, softmax->inputs[0], "Add")) {
    for (size_t i = 0; i < 2 && !match; ++i) {
      match = find_scores(graph, sum->inputs[i], context);
      if (match) match->mask = mask_of(graph, sum->inputs[1 - i]);
    }
  }
  if (!match) return std::nullopt;
  if (!match->rows_first) match->k = without_repeats(graph, match->k);
  match->v = without_repeats(graph, node.inputs[1]);
  if (const std::string reason = misfit(graph, *match); !reason.empty()) {
    context.miss("{}", reason);
    return std::nullopt;
  }
  context.nearly.clear();  // of a side that was not it
  return match;
}

// The Concat of two values along the positions that makes `value`, if it is one.
const Node* find_join(const Graph& graph, Value value) {
  const Node* concat = find_producer(graph, value, "Concat");
  if (!concat || concat->inputs.size() != 2) return nullptr;
  const int64_t axis = concat->attributes.get_int("axis", 0);
  return axis == 2 || axis == -2 ? concat : nullptr;
}

// Where the node can stand whose results replace both joined values: before all that read them, after all that it
// reads itself. Absent where there is no such place.
NodeId place_of(const Graph& graph, const std::vector<Value>& reads, Value key, Value value, NodeId last) {
  const auto order = graph.nodes();
  const auto index = [&](NodeId id) { return std::find(order.begin(), order.end(), id) - order.begin(); };
  auto place = index(last);
  for (const Value joined : {key, value}) {
    for (const NodeId user : graph.users(joined)) place = std::min(place, index(user));
  }
  for (const Value read : reads) {
    if (read && graph.producer(read) && index(graph.producer(read)) >= place) return {};
  }
  return order[size_t(place)];
}

bool apply(Graph& graph, NodeId id, RuleContext& context) {
  const Node node = graph.node(id);
  auto match = find_match(graph, node, context);
  if (!match) return false;
  if (match->rows_first) {
    const std::vector<int64_t> to_heads{0, 2, 1, 3};
    match->k = graph.node(graph.add_node("Transpose", {match->k}, {{"perm", to_heads}}, node.name, 1, id)).outputs[0];
  }
  op::Attributes attributes{{"scale", match->scale}};
  const Node* keys = find_join(graph, match->k);
  const Node* values = find_join(graph, match->v);
  if (keys && values) {
    const std::vector<Value> inputs{match->q,    keys->inputs[1], values->inputs[1],
                                    match->mask, keys->inputs[0], values->inputs[0]};
    if (const NodeId place = place_of(graph, inputs, match->k, match->v, id)) {
      const auto results = graph.node(graph.add_node("Attention", inputs, attributes, node.name, 3, place)).outputs;
      if (same_type(graph, results[0], node.outputs[0]) && same_type(graph, results[1], match->k) &&
          same_type(graph, results[2], match->v)) {
        graph.replace_uses(match->k, results[1]);
        graph.replace_uses(match->v, results[2]);
        return replace(graph, id, results[0]);
      }
      graph.erase(graph.producer(results[0]));
    }
  }
  std::vector<Value> inputs{match->q, match->k, match->v};
  if (match->mask) inputs.push_back(match->mask);
  if (replace_same_type(graph, id, graph.add_node("Attention", inputs, attributes, node.name, 1, id))) return true;
  if (match->rows_first) graph.erase(graph.producer(match->k));
  return context.miss("Attention of these would not be {}", op::to_string(graph.type(node.outputs[0])));
}

}  // namespace

const Rule& attention_rule() {
  static const Rule rule{.name = "attention", .roots = {"MatMul"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
