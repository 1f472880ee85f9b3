// RotaryEmbedding(x, cos, sin) for opsets that have none: com.microsoft's, which looks cos and sin up by position. What
// is there for each position of each row is a table with a line for each of them, and positions that count up.
#include "opt/contrib.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

struct Table {
  Value cos, sin;   // [lines, dim / 2]
  Value positions;  // i64 [batch, seq]
};

// Of cos and sin [batch, seq, dim / 2]. Every layer asks for the same: equal nodes become one afterwards.
Table table_of(Graph& graph, Value cos, Value sin, NodeId before) {
  const auto node = [&](std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {}) {
    const NodeId id = graph.add_node(op, std::move(inputs), std::move(attributes), "rotary_table", 1, before);
    return graph.node(id).outputs[0];
  };
  const auto number = [&](int64_t value) { return graph.add_constant("number", tensor::Tensor::scalar(value)); };
  const int64_t half = graph.type(cos).shape[2].value();
  const Value lines = constant_ints(graph, {-1, half});
  const Value lengths = node("Gather", {node("Shape", {cos}), constant_ints(graph, {0, 1})}, {{"axis", int64_t{0}}});
  const Value count = node("ReduceProd", {lengths}, {{"keepdims", int64_t{0}}});
  const Value positions = node("Reshape", {node("Range", {number(0), count, number(1)}), lengths});
  return {node("Reshape", {cos, lines}), node("Reshape", {sin, lines}), positions};
}

bool apply(Graph& graph, NodeId id, RuleContext& context) {
  const Node node = graph.node(id);
  if (!all_f32(graph, {node.inputs[0], node.inputs[1], node.inputs[2]})) return false;
  const bool looked_up = node.inputs.size() > 3 && node.inputs[3];
  const tensor::Shape& x = graph.type(node.inputs[0]).shape;
  const tensor::Shape& cos = graph.type(node.inputs[1]).shape;
  if (!cos.back().is_constant() || (looked_up && graph.type(node.inputs[3]).shape.size() != 2)) return false;
  const auto heads = x.size() == 4 ? x[1].constant() : node.attributes.find_int("num_heads");
  if (!heads || *heads < 1) return context.miss("the number of heads is not known");
  op::Attributes attributes{{"interleaved", node.attributes.get_int("interleaved", 0)}, {"num_heads", *heads}};
  if (const int64_t turned = node.attributes.get_int("rotary_embedding_dim", 0); turned != 0) {
    attributes.set("rotary_embedding_dim", turned);
  }
  const Table table = looked_up ? Table{node.inputs[1], node.inputs[2], node.inputs[3]}
                                : table_of(graph, node.inputs[1], node.inputs[2], id);
  const ContribCall call{.op = "RotaryEmbedding",
                         .inputs = {node.inputs[0], table.positions, table.cos, table.sin},
                         .attributes = std::move(attributes),
                         .results = node.outputs};
  return replace_by_call(graph, call, id, {0, 2, 3, 1});  // ONNX's own looks up a table, too
}

}  // namespace

const ContribRule& rotary_embedding_contrib() {
  static const ContribRule rule{
      .rule = {.name = "contrib_rotary_embedding", .roots = {"RotaryEmbedding"}, .apply = apply}, .until = 23};
  return rule;
}

}  // namespace lathe::opt
