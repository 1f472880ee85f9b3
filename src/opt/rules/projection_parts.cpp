// (x W + b)[.., part] = x W[:, part] + b[part], for parts along the last axis; and the same behind heads: where a row
// [heads * (d1 + d2 + ..)] is taken apart into heads and each head into parts, W' has the columns of that part of all
// heads. Joined projections of attention become one for each of query, key and value.
#include <algorithm>

#include "opt/heads.h"
#include "opt/match.h"
#include "opt/projection.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

// The rows behind a value that is cut along its last axis.
struct Rows {
  Value value;  // [.., heads * width]
  int64_t heads = 1;
  int64_t width = 0;    // of the axis that is cut
  bool apart = false;   // a Reshape to [.., heads, width] lies between
  bool turned = false;  // and a Transpose that moves the heads before the positions
};

std::optional<Rows> find_rows(const Graph& graph, Value cut) {
  const tensor::Shape& shape = graph.type(cut).shape;
  if (shape.empty() || !shape.back().is_constant()) return std::nullopt;
  Rows rows{.value = cut, .width = shape.back().value()};
  if (const Node* transpose = find_producer(graph, cut, "Transpose")) {
    if (!find_split(graph, cut) || !used_once(graph, transpose->inputs[0])) return std::nullopt;
    rows.turned = true;
    cut = transpose->inputs[0];
  }
  if (const Node* reshape = find_producer(graph, cut, "Reshape")) {
    const auto split = find_rows_of_heads(graph, *reshape);
    if (!split || !used_once(graph, split->rows)) return std::nullopt;
    rows.apart = true;
    rows.value = split->rows;
    rows.heads = split->heads;
  }
  return rows;
}

// The parts that a Split cuts, in order, or the one of a Slice; empty where they are not known or along another axis.
std::vector<LastAxisPart> find_parts(const Graph& graph, const Node& node) {
  std::vector<LastAxisPart> parts;
  for (const Value output : node.outputs) {
    const auto part = find_part(graph, output);
    if (!part || part->begin >= part->end) return {};
    parts.push_back(*part);
  }
  return parts;
}

// Whether the value goes into a row beside others, at once or after arithmetic on its elements.
bool is_joined(const Graph& graph, Value value, int depth) {
  const auto users = graph.users(value);
  return std::any_of(users.begin(), users.end(), [&](NodeId id) {
    const Node& user = graph.node(id);
    if (joins_last_axis(graph, user)) return true;
    return depth > 0 && op::get_op(user.op).elementwise && is_joined(graph, user.outputs[0], depth - 1);
  });
}

// Whether the value is there only to be cut into parts that have nothing to do with each other: together they are no
// wider, so that nothing is computed twice, and none goes back beside the others (as the parts of a head that rotary
// embedding turns, or leaves alone).
bool is_only_cut(const Graph& graph, Value value, int64_t width) {
  if (graph.is_output(value)) return false;
  int64_t wanted = 0;
  for (const NodeId user : graph.users(value)) {
    const Node& cut = graph.node(user);
    const auto parts = find_parts(graph, cut);
    if (parts.empty() || cut.inputs[0] != value) return false;
    for (const LastAxisPart& part : parts) wanted += part.end - part.begin;
    constexpr int kSteps = 3;  // product, sum, and one more
    const auto joined = [&](Value output) { return is_joined(graph, output, kSteps); };
    if (std::any_of(cut.outputs.begin(), cut.outputs.end(), joined)) return false;
  }
  return wanted <= width;
}

bool apply(Graph& graph, NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  const auto parts = find_parts(graph, node);
  const auto rows = find_rows(graph, node.inputs[0]);
  if (parts.empty() || !rows || !is_only_cut(graph, node.inputs[0], rows->width)) return false;
  const auto whole = find_projection(graph, rows->value);
  if (!whole) return false;
  for (size_t i = 0; i < parts.size(); ++i) {
    const int64_t begin = parts[i].begin, wanted = parts[i].end - begin, width = rows->width;
    Value value = project_columns(
        graph, *whole, rows->heads * wanted,
        [=](int64_t column) { return column / wanted * width + begin + column % wanted; },
        fmt::format(".part_{}", begin), id);
    if (rows->apart) {
      const Value shape = constant_ints(graph, {0, 0, rows->heads, wanted});
      value = rows->turned ? split_heads(graph, value, shape, id)
                           : graph.node(graph.add_node("Reshape", {value, shape}, {}, "", 1, id)).outputs[0];
    }
    graph.replace_uses(node.outputs[i], value);
  }
  return true;
}

}  // namespace

const Rule& projection_parts_rule() {
  static const Rule rule{.name = "projection_parts", .roots = {"Slice", "Split"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
