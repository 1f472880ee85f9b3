// Attention for opsets before 23: products, a mask and Softmax.
#include <cmath>
#include <limits>

#include "frontend/expansion.h"

namespace lathe::frontend {
namespace {

using op::Attributes;
using tensor::DType;

constexpr double kHidden = -std::numeric_limits<double>::infinity();

// How heads lie in query, key and value.
struct Heads {
  bool flat;  // [batch, sequence, heads x dim]; else [batch, heads, sequence, dim]
  int64_t heads;
  int64_t kv_heads;
  int64_t dim;
  int64_t value_dim;

  int64_t group() const { return heads / kv_heads; }
};

Heads heads_of(const Expansion& e) {
  if (e.type(0).shape.size() == 4) return {false, e.dim(0, 1), e.dim(1, 1), e.dim(0, -1), e.dim(2, -1)};
  const int64_t heads = e.node.attributes.get_int("q_num_heads", 0);
  const int64_t kv_heads = e.node.attributes.get_int("kv_num_heads", 0);
  return {true, heads, kv_heads, e.dim(0, -1) / heads, e.dim(2, -1) / kv_heads};
}

// Refuses what expand_attention does not compute, by name.
void check_attention(const Expansion& e) {
  for (const auto& [name, value] : e.node.attributes) {
    const bool known = name == "q_num_heads" || name == "kv_num_heads" || name == "scale" || name == "softcap" ||
                       name == "is_causal";
    if (!known) fail(ErrorCode::unsupported, "attribute \"{}\" has no expansion for older opsets", name);
  }
  const bool causal = e.node.attributes.get_int("is_causal", 0) != 0;
  const bool plain = !e.has(6) && e.node.outputs.size() <= 3 && e.has(4) == e.has(5);
  // A causal mask is written for prompts alone: heads of their own, no past, no other mask.
  if (!plain || (causal && (e.has(3) || e.has(4) || heads_of(e).group() != 1)))
    fail(ErrorCode::unsupported, "this form of Attention has no expansion for older opsets");
  if (!e.has(3) || heads_of(e).group() == 1) return;
  const tensor::Shape& mask = e.type(3).shape;
  if (mask.size() > 2 && mask[mask.size() - 3] != tensor::Dim(1)) {
    fail(ErrorCode::unsupported, "for groups of heads only a mask that is the same for all has an expansion, found {}",
         op::to_string(e.type(3)));
  }
}

// Whether the additive mask hides no key for good, so that no row sees nothing: a choice of numbers, finite in its
// type.
bool is_finite(const ir::Graph& graph, Value mask) {
  const double limit = graph.type(mask).dtype == DType::f16 ? 65504 : 1e38;
  const auto find = [&](Value value, std::string_view op) {
    const ir::NodeId id = graph.producer(value);
    return id && graph.node(id).op == op ? &graph.node(id) : nullptr;
  };
  const ir::Node* cast = find(mask, "Cast");
  const ir::Node* choice = find(cast ? cast->inputs[0] : mask, "Where");
  for (size_t i = 1; choice && i < 3; ++i) {
    const tensor::Tensor* number = graph.small_constant(choice->inputs[i]);
    if (!number || number->size() != 1 || !(std::abs(element_as_double(*number, 0)) <= limit)) return false;
  }
  return choice;
}

// [sequence, total] in f32: what hides the keys behind each query, numbered from the first.
Value causal_mask(const Builder& b, Value sequence, Value total) {
  const auto count = [&](Value length) {
    return b.node("Range", {b.scalar(0, DType::i64), b.reshape(length, {}), b.scalar(1, DType::i64)});
  };
  const Value later = b.node("Less", {b.unsqueeze(count(sequence), {1}), b.unsqueeze(count(total), {0})});
  const double lowest = std::numeric_limits<float>::lowest();
  return b.node("Where", {later, b.scalar(lowest, DType::f32), b.scalar(0, DType::f32)});
}

// Softmax in f32 of scores [.., sequence, total] with the mask, where a row that sees nothing is 0.
Value attention_weights(const Expansion& e, Value scores, Value mask) {
  const Builder& b = e.b;
  const auto softmax = [&](Value x) { return b.node("Softmax", {x}, {{"axis", int64_t{-1}}}); };
  if (!mask) return softmax(scores);
  const bool boolean = e.type(3).dtype == DType::boolean;
  const Value hidden = b.scalar(kHidden, DType::f32);
  const Value zero = b.scalar(0, DType::f32);
  const Value added = boolean ? b.node("Where", {mask, zero, hidden}) : b.cast(mask, DType::f32);
  const Value weights = softmax(b.add(scores, added));
  if (!boolean && is_finite(b.graph(), e.inputs[3])) return weights;
  return b.node("Where", {boolean ? mask : b.node("Greater", {added, hidden}), weights, zero});
}

}  // namespace

Value full_mask(const Expansion& e) {
  if (!e.has(3)) return {};
  const tensor::Shape& mask = e.type(3).shape;
  const int axis = e.type(0).shape.size() == 4 ? 2 : 1;
  if (mask.size() < 2 || mask[mask.size() - 2] != tensor::Dim(1) || e.type(0).shape[size_t(axis)] == tensor::Dim(1)) {
    return {};
  }
  const Builder& b = e.b;
  const Value sequence = b.slice(b.node("Shape", {e.inputs[0]}), axis, axis + 1, 0);
  return b.node("Expand", {e.inputs[3], b.concat({sequence, b.ints({1})}, 0)});
}

// Grouped-query attention with a mask, additive or boolean (ONNX Attention-23). The query heads of a key-value head
// become rows of one product, so nothing is repeated.
Results expand_attention(const Expansion& e) {
  const Builder& b = e.b;
  const Attributes& attributes = e.node.attributes;
  check_attention(e);
  const Heads h = heads_of(e);
  const int64_t group = h.group();
  const DType dtype = e.type(0).dtype;
  const auto split = [&](Value x, int64_t count, int64_t dim) {
    return h.flat ? b.transpose(b.reshape(x, {0, 0, count, dim}), {0, 2, 1, 3}) : x;
  };

  // Without a cache the keys are turned once, from where they lie to columns.
  const bool cached = e.has(4) || e.node.outputs.size() > 1;
  const bool at_once = h.flat && !cached;
  Value key = at_once ? Value{} : split(e.inputs[1], h.kv_heads, h.dim);
  Value value = split(e.inputs[2], h.kv_heads, h.value_dim);
  if (e.has(4)) {
    key = b.concat({e.inputs[4], key}, 2);
    value = b.concat({e.inputs[5], value}, 2);
  }
  const double scale = attributes.get_float("scale", 1 / std::sqrt(double(h.dim)));
  const Value scaled = b.mul(e.inputs[0], b.scalar(scale, dtype));
  Value query = split(scaled, h.heads, h.dim);                                 // [batch, heads, seq, dim]
  if (group > 1) query = b.reshape(query, {0, h.kv_heads, -1, h.dim});         // [batch, kv, group*seq, dim]
  const Value columns = at_once ? b.transpose(b.reshape(e.inputs[1], {0, 0, h.kv_heads, h.dim}), {0, 2, 3, 1})
                                : b.transpose(key, {0, 1, 3, 2});
  Value scores = b.node("MatMul", {query, columns});                           // [.., total]
  scores = b.cast(scores, DType::f32);
  if (const double cap = attributes.get_float("softcap", 0); cap != 0) {
    const Value limit = b.scalar(cap, DType::f32);
    scores = b.mul(b.node("Tanh", {b.div(scores, limit)}), limit);
  }
  const auto sequence = [&] { return b.slice(b.node("Shape", {e.inputs[0]}), h.flat ? 1 : 2, h.flat ? 2 : 3, 0); };
  if (attributes.get_int("is_causal", 0) != 0) {
    scores = b.add(scores, causal_mask(b, sequence(), b.slice(b.node("Shape", {columns}), 3, 4, 0)));
  }
  Value mask = e.has(3) ? e.inputs[3] : Value{};
  Value sum_shape;
  if (mask && group > 1) {  // [batch, kv, group, seq, total] while the mask is added
    sum_shape = b.node("Shape", {scores});
    const Value lengths = b.concat({sequence(), b.slice(sum_shape, 3, 4, 0)}, 0);
    scores = b.node("Reshape", {scores, b.concat({b.slice(sum_shape, 0, 2, 0), b.ints({group}), lengths}, 0)});
    if (e.type(3).shape.size() == 4) mask = b.unsqueeze(mask, {1});
  }
  Value weights = b.cast(attention_weights(e, scores, mask), dtype);
  if (sum_shape) weights = b.node("Reshape", {weights, sum_shape});
  Value y = b.node("MatMul", {weights, value});                                // [batch, kv, group*seq, dim]
  if (group > 1) {
    // heads come back from the rows: seq is the only length left to infer
    const Value batch = b.slice(b.node("Shape", {y}), 0, 1, 0);
    y = b.node("Reshape", {y, b.concat({batch, b.ints({h.heads}), sequence(), b.ints({h.value_dim})}, 0)});
  }
  if (h.flat) y = b.reshape(b.transpose(y, {0, 2, 1, 3}), {0, 0, h.heads * h.value_dim});
  return {y, key, value};
}

}  // namespace lathe::frontend
