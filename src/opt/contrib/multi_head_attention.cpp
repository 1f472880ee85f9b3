// Attention(q, k, v, mask, past_key, past_value) = MultiHeadAttention, for opsets that have no Attention: of rows of
// heads, as many of keys as of queries, with a mask that is added
//
// Where a mask hides every key of a query, ONNX's Attention gives 0; ONNX Runtime's kernel takes numbers to add, and
// gives NaN where all of them are -infinity. So they must be finite, and a boolean mask becomes such numbers:
// Attention(q, k, v, seen) = Where(any seen, Attention(q, k, v, Where(seen, 0, -1e38)), 0)
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

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

constexpr float kHidden = -1e38f;  // leaves room for scores

bool has(const Node& node, size_t i) {
  return i < node.inputs.size() && node.inputs[i];
}

bool is_boolean(const Graph& graph, Value mask) {
  return graph.type(mask).dtype == tensor::DType::boolean;
}

std::string why_not_mask(const Graph& graph, const Node& node, bool in_body) {
  const Value mask = node.inputs[kMask];
  const tensor::Shape& shape = graph.type(mask).shape;
  const tensor::Dim sequence = graph.type(node.inputs[kQuery]).shape[1];
  tensor::Dim total = graph.type(node.inputs[kKey]).shape[1];
  if (has(node, kPastKey)) total = total + graph.type(node.inputs[kPastKey]).shape[2];
  const tensor::Dim rows = shape.size() < 2 ? tensor::Dim(0) : shape[shape.size() - 2];
  if ((rows != sequence && rows != tensor::Dim(1)) || shape.back() != total) {
    return fmt::format("its mask is {}", op::to_string(graph.type(mask)));
  }
  if (!is_boolean(graph, mask)) {
    return std::isinf(find_range(graph, mask, !in_body).low) ? "its mask may hold -infinity only, for some query" : "";
  }
  const bool by_head = shape.size() >= 3 && shape[shape.size() - 3] != tensor::Dim(1);
  return by_head ? "its boolean mask differs by head" : "";
}

// What keeps the node from being a MultiHeadAttention; empty: nothing.
std::string why_not(const Graph& graph, const Node& node, bool in_body) {
  if (node.attributes.get_float("scale", 1) == 0) return "its scale is 0, by which the kernel means none was given";
  for (const auto& [name, value] : node.attributes) {
    const bool known = name == "q_num_heads" || name == "kv_num_heads" || name == "scale" || name == "is_causal";
    if (!known) return fmt::format("the kernel has no {}", name);
  }
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i == kMask && has(node, i) && is_boolean(graph, node.inputs[i])) continue;
    if (!all_f32(graph, {node.inputs[i]})) return "not all of it is f32";
  }
  if (node.inputs.size() > 6 || node.outputs.size() > 3) return "the kernel neither counts keys nor gives scores";
  if (graph.type(node.inputs[kQuery]).shape.size() != 3) return "its heads are apart";
  const int64_t heads = node.attributes.get_int("q_num_heads", 0);
  const int64_t kv_heads = node.attributes.get_int("kv_num_heads", 0);
  if (heads < 1 || heads != kv_heads) return fmt::format("{} heads share {} of keys", heads, kv_heads);
  if (!graph.type(node.inputs[kQuery]).shape[2].is_constant()) return "the width of heads is not known";
  if (has(node, kPastKey) != has(node, kPastValue)) return "half a past";
  if (has(node, kPastKey) && node.outputs.size() != 3) return "nobody reads the longer past";
  const bool causal = node.attributes.get_int("is_causal", 0) != 0;
  if (causal && (has(node, kMask) || has(node, kPastKey))) return "it is causal besides its mask or past";
  return has(node, kMask) ? why_not_mask(graph, node, in_body) : "";
}

// Nodes in front of another one.
class Adder {
 public:
  Adder(Graph& to, NodeId before) : graph(to), before_(before) {}

  Value operator()(std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {}) const {
    const NodeId id = graph.add_node(op, std::move(inputs), std::move(attributes), "mask", 1, before_);
    return graph.node(id).outputs[0];
  }
  Value ints(const std::vector<int64_t>& values) const { return constant_ints(graph, values); }
  Value number(float value) const { return graph.add_constant("number", tensor::Tensor::scalar(value)); }
  Value cast(Value x, tensor::DType to) const { return (*this)("Cast", {x}, {{"to", int64_t(to)}}); }

  Graph& graph;

 private:
  NodeId before_;
};

// A length as i64 [1]: read at an input of the graph, so that all layers read the same one, or else at `of`.
Value length_of(const Adder& add, Value of, int64_t axis) {
  const tensor::Dim length = add.graph.type(of).shape[size_t(axis)];
  if (length.is_constant()) return add.ints({length.value()});
  for (const Value input : add.graph.inputs()) {
    const tensor::Shape& shape = add.graph.type(input).shape;
    const auto found = std::find(shape.begin(), shape.end(), length);
    if (found == shape.end()) continue;
    of = input;
    axis = found - shape.begin();
    break;
  }
  return add("Gather", {add("Shape", {of}), add.ints({axis})}, {{"axis", int64_t{0}}});
}

struct Mask {
  Value bias;  // f32 [batch or 1, heads or 1, seq, total], finite
  Value seen;  // bool [batch or 1, seq or 1, 1]: queries that see a key; absent: all do
};

Mask mask_of(const Adder& add, const Node& node) {
  Value mask = node.inputs[kMask];
  const size_t rank = add.graph.type(mask).shape.size();
  std::vector<int64_t> axes;
  for (size_t i = rank; i < 4; ++i) axes.push_back(int64_t(i - rank));
  if (!axes.empty()) mask = add("Unsqueeze", {mask, add.ints(axes)});
  Mask result{mask, {}};
  if (is_boolean(add.graph, mask)) {
    const Value any = add("ReduceMax", {add.cast(mask, tensor::DType::i32), add.ints({1, 3})},
                          {{"keepdims", int64_t{0}}});
    result.seen = add("Unsqueeze", {add.cast(any, tensor::DType::boolean), add.ints({2})});
    result.bias = add("Where", {mask, add.number(0), add.number(kHidden)});
  }
  if (add.graph.type(mask).shape[2] != add.graph.type(node.inputs[kQuery]).shape[1]) {
    const Value row = add("Concat", {add.ints({1, 1}), length_of(add, node.inputs[kQuery], 1), add.ints({1})},
                          {{"axis", int64_t{0}}});
    result.bias = add("Expand", {result.bias, row});
  }
  return result;
}

op::Attributes attributes_of(const Graph& graph, const Node& node) {
  const int64_t heads = node.attributes.get_int("q_num_heads", 0);
  const double dim = double(graph.type(node.inputs[kQuery]).shape[2].value()) / double(heads);
  op::Attributes attributes{{"num_heads", heads}, {"scale", node.attributes.get_float("scale", 1 / std::sqrt(dim))}};
  if (node.attributes.get_int("is_causal", 0) != 0) {
    attributes.set("unidirectional", int64_t{1});
    attributes.set("mask_filter_value", double(std::numeric_limits<float>::lowest()));
  }
  return attributes;
}

bool apply(Graph& graph, NodeId id, RuleContext& context) {
  Node node = graph.node(id);
  if (const std::string reason = why_not(graph, node, context.in_body); !reason.empty())
    return context.miss("{}", reason);
  const Adder add(graph, id);
  const Mask mask = has(node, kMask) ? mask_of(add, node) : Mask{};
  if (mask.seen) {
    std::vector<Value> inputs = node.inputs;
    inputs[kMask] = mask.bias;
    const NodeId finite =
        graph.add_node(node.op, inputs, node.attributes, node.name, int(node.outputs.size()), id);
    const std::vector<Value> outputs = graph.node(finite).outputs;
    graph.replace_uses(node.outputs[0], add("Where", {mask.seen, outputs[0], add.number(0)}));
    for (size_t i = 1; i < outputs.size(); ++i) {
      if (node.outputs[i]) graph.replace_uses(node.outputs[i], outputs[i]);
    }
    id = finite;
    node = graph.node(id);
  }
  // query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value
  std::vector<Value> inputs{node.inputs[kQuery], node.inputs[kKey], node.inputs[kValue], {}, {}, mask.bias};
  if (has(node, kPastKey)) inputs.insert(inputs.end(), {node.inputs[kPastKey], node.inputs[kPastValue]});
  while (!inputs.back()) inputs.pop_back();
  const ContribCall call{.op = "MultiHeadAttention",
                         .inputs = std::move(inputs),
                         .attributes = attributes_of(graph, node),
                         .results = node.outputs};
  return replace_by_call(graph, call, id, {0, 1, 2, 5, 6, 7});
}

}  // namespace

const ContribRule& multi_head_attention_contrib() {
  static const ContribRule rule{
      .rule = {.name = "contrib_multi_head_attention", .roots = {"Attention"}, .apply = apply}, .until = 23};
  return rule;
}

}  // namespace lathe::opt
