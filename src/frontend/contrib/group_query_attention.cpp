// GroupQueryAttention: causal attention with fewer key-value heads, rotation, a cache whose rows differ in length.
#include "base/error.h"
#include "frontend/contrib/attention_parts.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

enum Input : size_t {
  kQuery,
  kKey,
  kValue,
  kPastKey,
  kPastValue,
  kLastIndex,  // seqlens_k, i32 [batch]: tokens so far, new ones included, less one
  kTotal,      // i32: the longest of the batch
  kCos,
  kSin,
  kPositions,
  kScoreBias,
  kSink,
  kKeyScale,
  kValueScale,
  kQueryNorm,
  kKeyNorm
};

struct Heads {
  int64_t query;
  int64_t key_value;
};

struct Qkv {
  Value query, key, value;  // [batch, seq, heads * dim]
};

void refuse_forms(const ContribNode& n) {
  n.only("kv_cache_bit_width", 0, "a quantised cache has no expansion");
  n.only("sliding_window_cache", 0, "a cache that forgets has no expansion");
  n.only("qk_output", 0, "scores as an output have no expansion");
  for (const std::string_view name : {"k_quant_type", "v_quant_type"}) {
    const std::string type = n.attributes().get_string(name, "NONE");
    if (type != "NONE")
      fail(ErrorCode::unsupported, "attribute \"{}\" is {}: a quantised cache has no expansion", name, type);
  }
  for (const size_t i : {size_t{kKeyScale}, size_t{kValueScale}}) n.no_input(i, "a quantised cache has no expansion");
  if (n.has(kPastKey) != n.has(kPastValue)) n.bad_input(kPastKey, "it goes together with past_value");
  if (n.has(kCos) != n.has(kSin)) n.bad_input(kCos, "it goes together with sin_cache");
  if (n.has(kQueryNorm) != n.has(kKeyNorm)) n.bad_input(kQueryNorm, "it goes together with k_norm_weight");
}

// Each head by itself: x / sqrt(mean(x^2) + epsilon) * weight.
Value normed(const ContribNode& n, Value x, size_t weight, int64_t heads) {
  const Builder& b = n.b;
  const Value y = b.node("RMSNormalization", {b.reshape(x, {0, 0, heads, -1}), n.in(weight)},
                         {{"axis", int64_t{-1}}, {"epsilon", n.get_float("qk_norm_epsilon", 1e-6f)}});
  return b.reshape(y, {0, 0, -1});
}

Qkv read_qkv(const ContribNode& n, const Heads& heads) {
  const Builder& b = n.b;
  n.require_rank(kQuery, {3});
  Qkv x{n.in(kQuery), n.in(kKey), n.in(kValue)};
  if (n.has(kKey) != n.has(kValue)) n.bad_input(kKey, "it goes together with the value");
  if (!n.has(kKey)) {
    const int64_t parts = heads.query + 2 * heads.key_value;
    const int64_t width = n.number(kQuery, 2);
    if (width % parts != 0) n.bad_input(kQuery, fmt::format("{} heads do not divide its width", parts));
    const int64_t dim = width / parts;
    const auto split =
        b.nodes("Split", {x.query, b.ints({heads.query * dim, heads.key_value * dim, heads.key_value * dim})},
                {{"axis", int64_t{2}}}, 3);
    x = {split[0], split[1], split[2]};
  } else {
    n.require_rank(kKey, {3});
    n.require_rank(kValue, {3});
  }
  if (n.has(kQueryNorm)) {
    x.query = normed(n, x.query, kQueryNorm, heads.query);
    x.key = normed(n, x.key, kKeyNorm, heads.key_value);
  }
  return x;
}

// How far the cache goes. The rows of a batch may have different pasts: row b's new tokens come right after its own.
struct Cache {
  Value sequence;      // i64 scalar: new tokens
  Value total;         // i64 scalar: keys that count
  Value past;          // i64 [batch]: tokens before the new ones
  bool simple;         // no past, or one that is full in every row: positions count up from its length
  bool total_is_full;  // total is the length of the past and the new tokens
};

Cache read_cache(const ContribNode& n) {
  const Builder& b = n.b;
  Cache cache{};
  cache.sequence = length_of(b, n.in(kQuery), 1);
  const Value batch = b.node("Shape", {n.in(kQuery)}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  if (!n.has(kPastKey)) {
    cache.total = cache.sequence;
    cache.past = b.node("Expand", {b.scalar(0, DType::i64), batch});
    cache.simple = cache.total_is_full = true;
    return cache;
  }
  n.require_rank(kPastKey, {4});
  n.require_rank(kPastValue, {4});
  const op::TypeInfo& total = n.type(kTotal);
  const bool known = total.elements && total.elements->size() == 1;
  cache.total_is_full = known && total.elements->front() == n.dim(kPastKey, 2) + n.dim(kQuery, 1);
  cache.total = as_i64(b, as_scalar(b, n.in(kTotal)));
  cache.simple = cache.total_is_full && n.dim(kQuery, 0) == Dim(1);  // the longest of one is this one
  if (cache.simple) {
    cache.past = b.node("Expand", {length_of(b, n.in(kPastKey), 2), batch});
    return cache;
  }
  // A prompt has nothing before it, even where padding makes it longer than its row.
  const Value count = b.add(as_i64(b, n.in(kLastIndex)), b.scalar(1, DType::i64));
  cache.past = b.node(
      "Where", {b.node("Equal", {cache.total, cache.sequence}), b.scalar(0, DType::i64), b.sub(count, cache.sequence)});
  return cache;
}

// i64 [batch, seq]: of the new tokens among their row's.
Value positions_of(const Builder& b, const Cache& cache) {
  return b.add(b.unsqueeze(cache.past, {1}), b.unsqueeze(count_up(b, cache.sequence), {0}));
}

// The cache [batch, heads, seq, dim] with the new rows behind those that count, and zeros behind them; as long as the
// past was or the longest row is.
Value extended(const Builder& b, const Cache& cache, Value past, Value added) {
  const Value zero = b.scalar(0, b.graph().type(added).dtype);
  const Value room = b.node("Expand", {zero, b.node("Shape", {added})});
  Value all = b.node("TensorScatter", {b.concat({past, room}, 2), added, cache.past}, {{"axis", int64_t{2}}});
  const Value rows = b.unsqueeze(count_up(b, length_of(b, all, 2)), {0, 1, 3});
  const Value counts = b.unsqueeze(b.add(cache.past, cache.sequence), {1, 2, 3});
  all = b.node("Where", {b.node("Less", {rows, counts}), all, zero});
  if (cache.total_is_full) return all;
  const Value end = b.node("Max", {cache.total, length_of(b, past, 2)});
  return b.node("Slice", {all, b.ints({0}), b.unsqueeze(end, {0}), b.ints({2})});
}

// True where a query may see a key, [batch, 1, seq, total].
Value seen_keys(const ContribNode& n, const Cache& cache) {
  const Builder& b = n.b;
  const Value keys = b.unsqueeze(count_up(b, cache.total), {0, 1, 2});
  if (!n.get_bool("causal", true)) {
    const Value last = b.unsqueeze(as_i64(b, n.in(kLastIndex)), {1, 2, 3});
    return b.node("LessOrEqual", {keys, last});
  }
  const Value queries = b.unsqueeze(positions_of(b, cache), {1, 3});
  const Value past = b.node("LessOrEqual", {keys, queries});
  const int64_t window = n.get_int("local_window_size", -1);
  if (window < 0) return past;
  return b.node("And", {past, b.node("Greater", {keys, b.sub(queries, b.scalar(double(window), DType::i64))})});
}

// A key that scores 0 and counts for nothing, and what is added to its score: it takes the sink's share of each
// softmax.
void append_sink(const ContribNode& n, const Heads& heads, Value& key, Value& value, Value& mask) {
  const Builder& b = n.b;
  const DType dtype = b.graph().type(key).dtype;
  const auto with_zeros = [&](Value x) {
    const Value row = b.slice(x, 0, 1, 2);
    return b.concat({x, b.node("Expand", {b.scalar(0, dtype), b.node("Shape", {row})})}, 2);
  };
  key = with_zeros(key);
  value = with_zeros(value);
  const Value sink = n.has(kSink) ? b.reshape(n.in(kSink), {1, heads.query, 1, 1})
                                  : b.node("Expand", {b.scalar(0, dtype), b.ints({1, 1, 1, 1})});
  const Value column = b.slice(mask, 0, 1, 3);
  const Value never = b.node("Less", {column, column});  // spreads the sinks over the mask's batch and queries
  const Value sinks = b.node("Where", {never, column, sink});
  const Value shape = b.node("Shape", {sinks}, {{"start", int64_t{0}}, {"end", int64_t{3}}});
  const Value width = b.node("Shape", {mask}, {{"start", int64_t{3}}, {"end", int64_t{4}}});
  mask = b.concat({b.node("Expand", {mask, b.concat({shape, width}, 0)}), sinks}, 3);
}

op::Attributes attributes_of(const ContribNode& n, const Heads& heads, bool flat, bool causal) {
  op::Attributes attributes = attention_attributes(n, heads.query, heads.key_value, flat, causal);
  if (const double softcap = n.get_float("softcap", 0); softcap != 0) attributes.set("softcap", softcap);
  return attributes;
}

// Every row's past is full: what Attention itself does with a past.
Results attend_simply(const ContribNode& n, const Heads& heads, const Qkv& x) {
  op::Attributes attributes = attributes_of(n, heads, true, true);
  const int64_t window = n.get_int("local_window_size", -1);
  if (window >= 0) attributes.set("left_window_size", window - 1);
  const Value mask = n.in(kScoreBias);
  std::vector<Value> inputs = {x.query, x.key, x.value, mask};
  if (n.has(kPastKey)) inputs.insert(inputs.end(), {n.in(kPastKey), n.in(kPastValue)});
  return n.b.nodes("Attention", inputs, attributes, std::min(n.outputs(), 3));
}

Results attend_by_row(const ContribNode& n, const Heads& heads, const Cache& cache, const Qkv& x, bool sink) {
  const Builder& b = n.b;
  Value key = split_heads(b, x.key, heads.key_value);
  Value value = split_heads(b, x.value, heads.key_value);
  if (n.has(kPastKey)) {
    key = extended(b, cache, n.in(kPastKey), key);
    value = extended(b, cache, n.in(kPastValue), value);
  }
  Results results = {Value(), key, value, Value()};
  if (!cache.total_is_full) {
    const Value end = b.unsqueeze(cache.total, {0});
    key = b.node("Slice", {key, b.ints({0}), end, b.ints({2})});
    value = b.node("Slice", {value, b.ints({0}), end, b.ints({2})});
  }
  const DType dtype = n.dtype(kQuery);
  Value mask = seen_keys(n, cache);
  if (sink || n.has(kScoreBias)) {
    const double hidden = -std::numeric_limits<double>::infinity();
    mask = b.node("Where", {mask, n.has(kScoreBias) ? n.in(kScoreBias) : b.scalar(0, dtype), b.scalar(hidden, dtype)});
  }
  if (sink) append_sink(n, heads, key, value, mask);
  const Value y = b.node("Attention", {split_heads(b, x.query, heads.query), key, value, mask},
                         attributes_of(n, heads, false, false));
  results[0] = join_heads(b, y);
  return results;
}

Results expand(const ContribNode& n) {
  refuse_forms(n);
  const Heads heads{n.get_int("num_heads"), n.get_int("kv_num_heads")};
  const bool fits = heads.query >= 1 && heads.query < int64_t{1} << 31 && heads.key_value >= 1;
  if (!fits || heads.query % heads.key_value != 0) {
    fail(ErrorCode::invalid_input, "{} heads on {}", heads.query, heads.key_value);
  }
  const int64_t window = n.get_int("local_window_size", -1);
  if (window == 0 || window < -1) fail(ErrorCode::unsupported, "attribute \"local_window_size\" is {}", window);
  const bool causal = n.get_bool("causal", true);
  if (!causal && window > 0) fail(ErrorCode::invalid_input, "local_window_size = {} without causality", window);
  Qkv x = read_qkv(n, heads);
  const Cache cache = read_cache(n);
  if (n.get_bool("do_rotary")) {
    n.require_rank(kCos, {2});
    n.require_rank(kSin, {2});
    const Value positions = n.has(kPositions) ? n.in(kPositions) : positions_of(n.b, cache);
    const bool interleaved = n.get_bool("rotary_interleaved");
    x.query = rotate(n.b, x.query, heads.query, n.in(kCos), n.in(kSin), positions, interleaved);
    x.key = rotate(n.b, x.key, heads.key_value, n.in(kCos), n.in(kSin), positions, interleaved);
  }
  const bool sink = n.has(kSink) || n.get_int("smooth_softmax", -1) > 0;
  Results results =
      causal && cache.simple && !sink ? attend_simply(n, heads, x) : attend_by_row(n, heads, cache, x, sink);
  results.resize(4);
  return results;
}

constexpr ContribOp kOps[] = {
    {.name = "GroupQueryAttention",
     .inputs = "query key? value? past_key? past_value? seqlens_k total_sequence_length cos_cache? sin_cache? "
               "position_ids? attention_bias? head_sink? k_scale? v_scale? q_norm_weight? k_norm_weight?",
     .attributes = "causal do_rotary k_quant_type kv_cache_bit_width kv_num_heads local_window_size num_heads "
                   "qk_norm_epsilon qk_output rotary_interleaved scale sliding_window_cache smooth_softmax softcap "
                   "v_quant_type",
     .outputs = 4,
     .expand = expand},
};

}  // namespace

std::span<const ContribOp> group_query_attention_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
