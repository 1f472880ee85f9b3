// MultiHeadAttention: query, key and value apart or packed, with a bias of their projections, masks and a cache.
#include "base/error.h"
#include "frontend/contrib/attention_parts.h"

namespace lathe::frontend {
namespace {

enum Input : size_t { kQuery, kKey, kValue, kBias, kMask, kScoreBias, kPastKey, kPastValue, kPastLength, kIndirection };

// [batch, seq, heads * dim] each; or [batch, heads, seq, dim] for a key and value that come from a cache.
struct Qkv {
  Value query, key, value;
  bool cached = false;
};

// [batch, seq, heads, parts, dim] to `parts` of [batch, seq, heads * dim].
std::vector<Value> unpacked(const Builder& b, Value packed, int64_t parts) {
  auto results = b.nodes("Split", {packed}, {{"axis", int64_t{3}}, {"num_outputs", parts}}, int(parts));
  for (Value& result : results) result = b.reshape(result, {0, 0, -1});
  return results;
}

Qkv read_qkv(const ContribNode& n) {
  const Builder& b = n.b;
  n.require_rank(kQuery, {3, 5});
  if (n.rank(kQuery) == 5) {
    n.no_input(kKey, "the query holds the key already");
    n.no_input(kValue, "the query holds the value already");
    const auto parts = unpacked(b, n.in(kQuery), 3);
    return {parts[0], parts[1], parts[2]};
  }
  n.require_rank(kKey, {3, 4, 5});
  if (n.rank(kKey) == 5) {
    n.no_input(kValue, "the key holds the value already");
    const auto parts = unpacked(b, n.in(kKey), 2);
    return {n.in(kQuery), parts[0], parts[1]};
  }
  n.require_rank(kValue, {n.rank(kKey)});
  return {n.in(kQuery), n.in(kKey), n.in(kValue), n.rank(kKey) == 4};
}

int64_t width_of(const Builder& b, Value x, std::string_view what) {
  const tensor::Dim& width = b.graph().type(x).shape.back();
  if (!width.is_constant()) fail(ErrorCode::unsupported, "with a bias the width of {} must be a number", what);
  return width.value();
}

// The bias is that of query, key and value in a row; what comes from a cache has had its own.
void add_bias(const ContribNode& n, Qkv& x) {
  const Builder& b = n.b;
  const int64_t q = width_of(b, x.query, "query");
  const auto part = [&](int64_t begin, int64_t width) { return b.slice(n.in(kBias), begin, begin + width, 0); };
  x.query = b.add(x.query, part(0, q));
  if (x.cached) return;
  x.key = b.add(x.key, part(q, q));
  x.value = b.add(x.value, part(2 * q, width_of(b, x.value, "value")));
}

Results expand(const ContribNode& n) {
  const Builder& b = n.b;
  const int64_t heads = n.get_int("num_heads");
  if (heads < 1) fail(ErrorCode::invalid_input, "num_heads is {}", heads);
  for (const size_t i : {size_t{kPastLength}, size_t{kIndirection}}) {
    n.no_input(i, "a cache that is written in place has no expansion");
  }
  Qkv x = read_qkv(n);
  if (n.has(kBias)) add_bias(n, x);
  if (x.cached) {
    n.no_input(kPastKey, "key and value come from a cache already");
    x.query = split_heads(b, x.query, heads);
  }
  const KeyLength length{n.dim(kQuery, 0), x.key, x.cached ? 2 : 1, n.in(kPastKey), 2};
  const ScoreBias bias{kMask, kScoreBias, n.get_float("mask_filter_value", -10000)};
  std::vector<Value> inputs = {x.query, x.key, x.value, score_bias(n, bias, length, n.dtype(kQuery))};
  if (n.has(kPastKey)) inputs.insert(inputs.end(), {n.in(kPastKey), n.in(kPastValue)});
  const bool causal = n.get_bool("unidirectional");
  auto results =
      b.nodes("Attention", inputs, attention_attributes(n, heads, heads, !x.cached, causal), std::min(n.outputs(), 3));
  if (x.cached) results[0] = join_heads(b, results[0]);
  results.resize(4);  // the scores have no expansion
  return results;
}

constexpr ContribOp kOps[] = {
    {.name = "MultiHeadAttention",
     .inputs = "query key? value? bias? key_padding_mask? attention_bias? past_key? past_value? past_sequence_length? "
               "cache_indirection?",
     .attributes = "mask_filter_value num_heads scale unidirectional",
     .outputs = 4,
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> multi_head_attention_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
