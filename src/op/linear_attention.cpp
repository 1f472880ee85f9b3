// Attention whose memory is one matrix S [d_k, d_v] for each key head, updated token by token:
//   S = exp(g) S                       ("gated", "gated_delta"; g for the head or for each key dimension)
//   S = S + k (x) v                    ("linear", "gated")
//   S = S + beta k (x) (v - S' k)      ("delta", "gated_delta")
// and read by each of the query heads that share it: output = scale S' q. Everything in double; S is rounded
// once, after the last token.
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

using tensor::Dim;

enum Input : size_t { kQuery, kKey, kValue, kPast, kDecay, kBeta };

std::string rule_of(const Attributes& attributes) {
  return attributes.get_string("update_rule", "gated_delta");
}
bool is_gated(std::string_view rule) {
  return rule == "gated" || rule == "gated_delta";
}
bool is_delta(std::string_view rule) {
  return rule == "delta" || rule == "gated_delta";
}

// The size of one of `heads` heads that are packed in the last axis of an input.
Dim head_size(const InferContext& context, size_t input, int64_t heads) {
  const Dim width = context.input(input).shape[2];
  const auto size = divide_exactly(width, Dim(heads));
  if (!size && width.is_constant()) bad(context, "{} heads do not divide {}", heads, to_string(context.input(input)));
  return size.value_or(unknown_dim(context, input));
}

void check_gates(const InferContext& context, int64_t heads, const Dim& d_k) {
  const std::string rule = rule_of(context.attributes);
  if (rule != "linear" && !is_gated(rule) && !is_delta(rule)) bad(context, "update_rule \"{}\"", rule);
  if (context.has_input(kDecay) != is_gated(rule))
    bad(context, "update_rule {} {} decay", rule, is_gated(rule) ? "needs" : "takes no");
  if (context.has_input(kBeta) != is_delta(rule))
    bad(context, "update_rule {} {} beta", rule, is_delta(rule) ? "needs" : "takes no");
  const auto width_is = [&](size_t input, const Dim& a, const Dim& b) {
    const Dim& width = context.input(input).shape[2];
    if (width.is_constant() && a.is_constant() && b.is_constant() && !(width == a) && !(width == b))
      bad(context, "input {}: expected a last axis of {} or {}, found {}", input, a.to_string(), b.to_string(),
          to_string(context.input(input)));
  };
  if (is_gated(rule)) width_is(kDecay, Dim(heads), Dim(heads) * d_k);
  if (is_delta(rule)) width_is(kBeta, Dim(heads), Dim(1));
}

void infer_linear_attention(InferContext& context) {
  const TypeInfo& query = require(context, kQuery, kF32 | kF16 | kBf16);
  const int64_t q_heads = context.attributes.get_int("q_num_heads", 0);
  const int64_t heads = context.attributes.get_int("kv_num_heads", 0);
  if (heads < 1 || q_heads < 1 || q_heads % heads != 0) bad(context, "{} query heads on {} key heads", q_heads, heads);
  require_rank(context, kQuery, 3);
  for (const size_t i : {kKey, kValue, kDecay, kBeta}) {
    if (i > kPast && !context.has_input(i)) continue;
    require_rank(context, i, 3);
    require_same_dtype(context, kQuery, i);
    for (size_t d = 0; d < 2; ++d)
      require_dims_agree(context, fmt::format("query and input {}", i), query.shape[d], context.input(i).shape[d]);
  }
  const Dim d_k = head_size(context, kQuery, q_heads);
  const Dim d_v = head_size(context, kValue, heads);
  require_dims_agree(context, "width of the keys", context.input(kKey).shape[2], d_k * Dim(heads));
  check_gates(context, heads, d_k);
  const tensor::Shape state{query.shape[0], Dim(heads), d_k, d_v};
  tensor::DType state_type = query.dtype;
  if (context.has_input(kPast)) {
    state_type = require(context, kPast, kF32 | kF16 | kBf16).dtype;
    require_rank(context, kPast, 4);
    for (size_t i = 0; i < 4; ++i) require_dims_agree(context, "past_state", context.input(kPast).shape[i], state[i]);
  }
  context.outputs[0] = {query.dtype, {query.shape[0], query.shape[1], d_v * Dim(q_heads)}, std::nullopt};
  context.outputs[1] = {state_type, state, std::nullopt};
}

// One head's memory, [d_k, d_v].
struct Memory {
  double* values;
  int64_t d_k;
  int64_t d_v;

  // `gates` has one decay for all keys, or with stride 1 one for each.
  void decay(const double* gates, int64_t stride) {
    for (int64_t i = 0; i < d_k; ++i) {
      const double factor = std::exp(gates[i * stride]);
      for (int64_t j = 0; j < d_v; ++j) values[i * d_v + j] *= factor;
    }
  }
  // factor S' q added to out [d_v].
  void read(const double* q, double factor, double* out) const {
    for (int64_t i = 0; i < d_k; ++i) {
      for (int64_t j = 0; j < d_v; ++j) out[j] += factor * q[i] * values[i * d_v + j];
    }
  }
  void write(const double* k, const std::vector<double>& v) {
    for (int64_t i = 0; i < d_k; ++i) {
      for (int64_t j = 0; j < d_v; ++j) values[i * d_v + j] += k[i] * v[size_t(j)];
    }
  }
};

void evaluate_linear_attention(EvaluateContext& context) {
  const tensor::Tensor& query = context.inputs[kQuery];
  const std::string rule = rule_of(context.attributes);
  const int64_t q_heads = context.attributes.get_int("q_num_heads", 1);
  const int64_t heads = context.attributes.get_int("kv_num_heads", 1);
  const int64_t batch = query.dims()[0], tokens = query.dims()[1];
  const int64_t d_k = query.dims()[2] / q_heads, d_v = context.inputs[kValue].dims()[2] / heads;
  const tensor::Dims state_dims{batch, heads, d_k, d_v}, dims{batch, tokens, q_heads * d_v};
  const auto optional = [&](size_t i) {
    return context.has_input(i) ? load<double>(context.inputs[i]) : std::vector<double>();
  };
  const std::vector<double> q = load<double>(query), k = optional(kKey), v = optional(kValue);
  const std::vector<double> decay = optional(kDecay), beta = optional(kBeta);
  const int64_t decay_width = is_gated(rule) ? context.inputs[kDecay].dims()[2] : 0;
  const int64_t beta_width = is_delta(rule) ? context.inputs[kBeta].dims()[2] : 0;
  double scale = context.attributes.get_float("scale", 0);
  if (scale == 0) scale = 1 / std::sqrt(double(d_k));
  std::vector<double> state = optional(kPast);
  state.resize(size_t(count_of(state_dims, 0, 4)));
  std::vector<double> output(size_t(count_of(dims, 0, 3)));
  for (int64_t bt = 0; bt < batch * tokens; ++bt) {
    for (int64_t h = 0; h < heads; ++h) {
      Memory memory{state.data() + (bt / tokens * heads + h) * d_k * d_v, d_k, d_v};
      const double* key = k.data() + (bt * heads + h) * d_k;
      const double* value = v.data() + (bt * heads + h) * d_v;
      const bool per_key = decay_width != heads;
      if (is_gated(rule)) memory.decay(decay.data() + bt * decay_width + h * (per_key ? d_k : 1), per_key);
      std::vector<double> written(value, value + d_v);
      if (is_delta(rule)) {
        memory.read(key, -1, written.data());
        const double rate = beta[size_t(bt * beta_width + (beta_width == 1 ? 0 : h))];
        for (double& element : written) element *= rate;
      }
      memory.write(key, written);
      for (int64_t shared = 0; shared < q_heads / heads; ++shared) {
        const int64_t row = bt * q_heads + h * (q_heads / heads) + shared;
        memory.read(q.data() + row * d_k, scale, output.data() + row * d_v);
      }
    }
  }
  const tensor::DType state_type = context.has_input(kPast) ? context.inputs[kPast].dtype() : query.dtype();
  context.outputs[0] = store(query.dtype(), dims, output);
  context.outputs[1] = store(state_type, state_dims, state);
}

}  // namespace

const OpDef& linear_attention_op() {
  static const OpDef def{
      .name = "LinearAttention",
      .min_inputs = 3,
      .max_inputs = 6,
      .min_outputs = 2,
      .max_outputs = 2,
      .attributes = {{"chunk_size", AttributeKind::integer},
                     {"kv_num_heads", AttributeKind::integer, true},
                     {"q_num_heads", AttributeKind::integer, true},
                     {"scale", AttributeKind::real},
                     {"update_rule", AttributeKind::string}},
      .since = 27,
      .infer = infer_linear_attention,
      .evaluate = evaluate_linear_attention,
  };
  return def;
}

}  // namespace lathe::op
