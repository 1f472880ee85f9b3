// Attention(q, k, v, mask, past_key, past_value) = MultiHeadAttention, for opsets that have no Attention: of rows of
// heads, as many of keys as of queries, with a mask that is added
//
// Where a mask hides every key of a query with -infinity, ONNX's Attention gives 0 and ONNX Runtime's kernel NaN. So the
// mask must be made of finite numbers.
#include <cmath>
#include <limits>

#include "opt/contrib.h"
#include "opt/match.h"
#include "opt/value_range.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

enum Input : size_t { kQuery, kKey, kValue, kMask, kPastKey, kPastValue };

bool has(const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i];
}

bool fits(const Graph& graph, const Node& node) {
  for (const auto& [name, value] : node.attributes) {
    const bool known = name == "q_num_heads" || name == "kv_num_heads" || name == "scale" || name == "is_causal";
    if (!known) return false;
  }
  if (!all_f32(graph, node.inputs) || node.inputs.size() > 6 || node.outputs.size() > 3) return false;
  if (graph.type(node.inputs[kQuery]).shape.size() != 3 || has(node, kPastKey) != has(node, kPastValue)) return false;
  if (has(node, kPastKey) && node.outputs.size() != 3) return false;
  const int64_t heads = node.attributes.get_int("q_num_heads", 0);
  if (heads < 1 || heads != node.attributes.get_int("kv_num_heads", 0)) return false;
  const bool causal = node.attributes.get_int("is_causal", 0) != 0;
  return !causal || !(has(node, kMask) || has(node, kPastKey));
}

// Where a length can be read: at an input of the graph, so that all layers read the same one, or else at `otherwise`.
struct Length {
  Value of;
  int64_t axis;
};
Length find_length(const Graph& graph, const tensor::Dim& dim, const Length& otherwise) {
  for (const Value input : graph.inputs()) {
    const tensor::Shape& shape = graph.type(input).shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      if (shape[axis] == dim) return {input, int64_t(axis)};
    }
  }
  return otherwise;
}

// The mask as the kernel wants it, [batch or 1, heads or 1, seq, total]; absent where it cannot be.
Value widened_mask(Graph& graph, const Node& node, NodeId before) {
  const Value mask = node.inputs[kMask];
  const tensor::Shape shape = graph.type(mask).shape;
  const tensor::Dim sequence = graph.type(node.inputs[kQuery]).shape[1];
  const tensor::Dim keys = graph.type(node.inputs[kKey]).shape[1];
  const tensor::Dim total = has(node, kPastKey) ? keys + graph.type(node.inputs[kPastKey]).shape[2] : keys;
  if (shape.size() < 2 || shape.back() != total) return {};
  const tensor::Dim& rows = shape[shape.size() - 2];
  if (rows != sequence && rows != tensor::Dim(1)) return {};
  const auto add = [&](std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {}) {
    const NodeId id = graph.add_node(op, std::move(inputs), std::move(attributes), "mask", 1, before);
    return graph.node(id).outputs[0];
  };
  Value wide = mask;
  if (shape.size() < 4) {
    std::vector<int64_t> axes;
    for (size_t i = shape.size(); i < 4; ++i) axes.push_back(int64_t(i - shape.size()));
    wide = add("Unsqueeze", {mask, constant_ints(graph, axes)});
  }
  if (rows == sequence) return wide;
  Value length;
  if (sequence.is_constant()) {
    length = constant_ints(graph, {sequence.value()});
  } else {
    const Length at = find_length(graph, sequence, {node.inputs[kQuery], 1});
    length = add("Gather", {add("Shape", {at.of}), constant_ints(graph, {at.axis})}, {{"axis", int64_t{0}}});
  }
  const Value ones = constant_ints(graph, {1, 1}), one = constant_ints(graph, {1});
  return add("Expand", {wide, add("Concat", {ones, length, one}, {{"axis", int64_t{0}}})});
}

bool apply(Graph& graph, NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  if (!fits(graph, node)) return false;
  Value mask;
  if (has(node, kMask)) {
    const auto range = find_range(graph, node.inputs[kMask]);
    if (!range || !range->is_finite_f32()) return false;
    mask = widened_mask(graph, node, id);
    if (!mask) return false;
  }
  const int64_t heads = node.attributes.get_int("q_num_heads", 0);
  const double dim = graph.type(node.inputs[kQuery]).shape[2].constant().value_or(0) / double(heads);
  if (dim < 1) return false;
  op::Attributes attributes{{"num_heads", heads}, {"scale", node.attributes.get_float("scale", 1 / std::sqrt(dim))}};
  if (node.attributes.get_int("is_causal", 0) != 0) {
    attributes.set("unidirectional", int64_t{1});
    attributes.set("mask_filter_value", double(std::numeric_limits<float>::lowest()));
  }
  // query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value
  std::vector<Value> inputs{node.inputs[kQuery], node.inputs[kKey], node.inputs[kValue], {}, {}, mask};
  if (has(node, kPastKey)) inputs.insert(inputs.end(), {node.inputs[kPastKey], node.inputs[kPastValue]});
  while (!inputs.back()) inputs.pop_back();
  const ContribCall call{.op = "MultiHeadAttention",
                         .inputs = std::move(inputs),
                         .attributes = std::move(attributes),
                         .results = node.outputs};
  return replace_by_call(graph, call, id, {0, 1, 2, 5, 6, 7});
}

}  // namespace

const ContribRule& multi_head_attention_contrib() {
  static const ContribRule rule{.rule = {.name = "contrib_multi_head_attention", .roots = {"Attention"}, .apply = apply},
                                .until = 23};
  return rule;
}

}  // namespace lathe::opt
