// Attention and QAttention: the projection to query, key and value, then attention over a cache of both in one tensor.
#include "base/error.h"
#include "frontend/contrib/attention_parts.h"
#include "frontend/contrib/integer_products.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

// The widths of query, key and value within the projection's.
std::vector<int64_t> projection_widths(const ContribNode& n, size_t weights, int64_t heads) {
  const int64_t all = n.number(weights, 1);
  auto widths = n.attributes().find_ints("qkv_hidden_sizes").value_or(std::vector<int64_t>());
  if (widths.empty()) {
    if (all % 3 != 0) n.bad_input(weights, "its width is not three times anything");
    widths = {all / 3, all / 3, all / 3};
  }
  bool fits = widths.size() == 3 && widths[0] == widths[1];
  for (const int64_t width : widths) fits = fits && width > 0 && width <= all && width % heads == 0;
  fits = fits && widths[0] + widths[1] + widths[2] == all;
  if (!fits) {
    fail(ErrorCode::invalid_input, "{} heads, query, key and value of {} in {}", heads, fmt::join(widths, ", "), all);
  }
  return widths;
}

// Attention of the projection [batch, seq, q + k + v]; `past` is the input [2, batch, heads, past, dim].
Results attend(const ContribNode& n, Value projection, size_t weights, size_t past_input, const ScoreBias& bias) {
  const Builder& b = n.b;
  const int64_t heads = n.get_int("num_heads");
  if (heads < 1) fail(ErrorCode::invalid_input, "num_heads is {}", heads);
  const auto widths = projection_widths(n, weights, heads);
  const auto qkv = b.nodes("Split", {projection, b.ints(widths)}, {{"axis", int64_t{2}}}, 3);
  const Value past = n.in(past_input);
  if (past) n.require_rank(past_input, {5});
  const KeyLength length{n.dim(0, 0), n.in(0), 1, past, 3};
  const DType dtype = b.graph().type(projection).dtype;

  std::vector<Value> inputs = {qkv[0], qkv[1], qkv[2], score_bias(n, bias, length, dtype)};
  if (past) {
    const auto part = [&](int64_t i) {
      return b.node("Gather", {past, b.scalar(double(i), DType::i64)}, {{"axis", int64_t{0}}});
    };
    inputs.push_back(part(0));
    inputs.push_back(part(1));
  }
  const auto results =
      b.nodes("Attention", inputs, attention_attributes(n, heads, heads, true, n.get_bool("unidirectional")),
              n.wants(1) ? 3 : 1);
  if (!n.wants(1)) return {results[0]};
  return {results[0], b.concat({b.unsqueeze(results[1], {0}), b.unsqueeze(results[2], {0})}, 0)};
}

void refuse_common(const ContribNode& n) {
  n.only("do_rotary", 0, "rotation within Attention has no expansion");
  n.only("past_present_share_buffer", 0, "a cache that is written in place has no expansion");
}

Results expand_attention_node(const ContribNode& n) {
  enum Input : size_t { kX, kWeights, kBias, kMask, kPast, kScoreBias, kPastLength };
  refuse_common(n);
  n.no_input(kPastLength, "a cache that is written in place has no expansion");
  Value projection = n.b.node("MatMul", {n.in(kX), n.in(kWeights)});
  if (n.has(kBias)) projection = n.b.add(projection, n.in(kBias));
  return attend(n, projection, kWeights, kPast, {kMask, kScoreBias, n.get_float("mask_filter_value", -10000)});
}

Results expand_q_attention(const ContribNode& n) {
  enum Input : size_t { kX, kWeights, kBias, kXScale, kWeightScale, kMask, kXZero, kWeightZero, kPast, kNone };
  refuse_common(n);
  const Value product = integer_product(n, {kX, kXScale, kXZero}, {kWeights, kWeightScale, kWeightZero});
  return attend(n, n.b.add(product, n.in(kBias)), kWeights, kPast,
                {kMask, kNone, n.get_float("mask_filter_value", -10000)});
}

constexpr ContribOp kOps[] = {
    {.name = "Attention",
     .inputs = "input weights bias? mask_index? past? attention_bias? past_sequence_length?",
     .attributes =
         "do_rotary mask_filter_value num_heads past_present_share_buffer qkv_hidden_sizes scale unidirectional",
     .outputs = 2,
     .expand = expand_attention_node},
    {.name = "QAttention",
     .inputs = "input weight bias input_scale weight_scale mask_index? input_zero_point? weight_zero_point? past?",
     .attributes = "do_rotary mask_filter_value num_heads past_present_share_buffer scale unidirectional",
     .outputs = 2,
     .expand = expand_q_attention},
};

}  // namespace

std::span<const ContribOp> attention_contrib() {
  return kOps;
}

}  // namespace lathe::frontend
