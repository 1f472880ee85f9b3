#include "frontend/contrib/attention_parts.h"

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

// True where a key may be seen, [batch, total], of lengths or of ends and starts.
Value seen_by_index(const ContribNode& n, size_t mask, const KeyLength& length) {
  const Builder& b = n.b;
  Value total = length_of(b, length.keys, length.axis);
  if (length.past) total = b.add(total, length_of(b, length.past, length.past_axis));
  const Value keys = b.unsqueeze(count_up(b, total), {0});  // [1, total]
  const Value index = as_i64(b, n.in(mask));
  const Dim& count = n.dim(mask, 0);
  if (count == length.batch) return b.node("Less", {keys, b.unsqueeze(index, {1})});
  if (!(count == length.batch * Dim(2))) {
    n.refuse_input(mask, fmt::format("expected {0} lengths, or 2*{0} ends and starts", length.batch.to_string()));
  }
  const auto halves = b.nodes("Split", {b.unsqueeze(index, {1})}, {{"num_outputs", int64_t{2}}}, 2);
  return b.node("And", {b.node("Less", {keys, halves[0]}), b.node("GreaterOrEqual", {keys, halves[1]})});
}

// 0 where a key may be seen and `filter` elsewhere, with as many axes as scores have.
Value padding(const ContribNode& n, const ScoreBias& from, const KeyLength& length, DType dtype) {
  const Builder& b = n.b;
  n.require_rank(from.mask, {1, 2, 3});
  const size_t rank = n.rank(from.mask);
  Value seen = rank == 1 ? seen_by_index(n, from.mask, length)
                         : b.node("Greater", {n.in(from.mask), b.scalar(0, n.dtype(from.mask))});
  seen = b.unsqueeze(seen, rank == 3 ? std::vector<int64_t>{1} : std::vector<int64_t>{1, 2});
  return b.node("Where", {seen, b.scalar(0, dtype), b.scalar(from.filter, dtype)});
}

}  // namespace

Value split_heads(const Builder& b, Value x, int64_t heads) {
  return b.transpose(b.reshape(x, {0, 0, heads, -1}), {0, 2, 1, 3});
}

Value join_heads(const Builder& b, Value x) {
  return b.reshape(b.transpose(x, {0, 2, 1, 3}), {0, 0, -1});
}

Value rotate(const Builder& b, Value x, int64_t heads, Value cos, Value sin, Value positions, bool interleaved) {
  op::Attributes attributes;
  if (interleaved) attributes.set("interleaved", int64_t{1});
  const tensor::Shape shape = b.graph().type(x).shape;
  const Dim width = heads > 0 ? divide_exactly(shape.back(), Dim(heads)).value_or(Dim(0)) : shape.back();
  const Dim pairs = b.graph().type(cos).shape.back();
  if (!pairs.is_constant() || pairs.value() >= int64_t{1} << 31) {
    fail(ErrorCode::unsupported, "the width of cos_cache is {}", pairs.to_string());
  }
  if (heads > 0) attributes.set("num_heads", heads);
  if (!(width == pairs * Dim(2))) attributes.set("rotary_embedding_dim", 2 * pairs.value());
  const auto rows = [&](Value cache) { return b.node("Gather", {cache, positions}, {{"axis", int64_t{0}}}); };
  return b.node("RotaryEmbedding", {x, rows(cos), rows(sin)}, attributes);  // cos and sin [batch, seq, pairs]
}

Value score_bias(const ContribNode& n, const ScoreBias& from, const KeyLength& length, DType dtype) {
  const Value mask = n.has(from.mask) ? padding(n, from, length, dtype) : Value();
  if (!n.has(from.bias)) return mask;
  n.require_rank(from.bias, {4});
  return mask ? n.b.add(mask, n.in(from.bias)) : n.in(from.bias);
}

op::Attributes attention_attributes(const ContribNode& n, int64_t heads, int64_t kv_heads, bool flat, bool causal) {
  op::Attributes attributes;
  if (flat) {
    attributes.set("q_num_heads", heads);
    attributes.set("kv_num_heads", kv_heads);
  }
  if (const double scale = n.get_float("scale", 0); scale != 0) attributes.set("scale", scale);
  if (causal) attributes.set("is_causal", int64_t{1});
  return attributes;
}

}  // namespace lathe::frontend
