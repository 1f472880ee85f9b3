// softmax(scale Q K' + bias) V with grouped heads, masks, a cache and windows. In double, each output rounded
// once: softmax_precision asks for a minimum that double always gives.
#include <algorithm>
#include <cmath>
#include <limits>

#include "op/inference.h"
#include "op/lines.h"
#include "op/products.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

constexpr double kMasked = -std::numeric_limits<double>::infinity();
enum Input : size_t { kQ, kK, kV, kMask, kPastKey, kPastValue, kValidLength };

// [batch, heads, seq, dim] of an input of rank 4, or of rank 3 ([batch, seq, heads * dim]) with a head count.
tensor::Shape head_shape(const InferContext& context, size_t input, std::string_view attribute) {
  const tensor::Shape& shape = context.input(input).shape;
  const auto heads = context.attributes.find_int(attribute);
  if (shape.size() == 4) {
    if (heads) require_dims_agree(context, attribute, shape[1], Dim(*heads));
    return shape;
  }
  if (shape.size() != 3)
    bad(context, "input {}: expected rank 3 or 4, found {}", input, to_string(context.input(input)));
  if (!heads || *heads < 1) bad(context, "{} must be given for inputs of rank 3", attribute);
  const auto width = shape[2].constant();
  if (width && *width % *heads != 0) bad(context, "{} = {} does not divide {}", attribute, *heads, *width);
  const Dim dim = divide_exactly(shape[2], Dim(*heads)).value_or(unknown_dim(context, input));
  return {shape[0], Dim(*heads), shape[1], dim};
}

void check_mask(const InferContext& context, const tensor::Shape& scores) {
  const TypeInfo& mask = require(context, kMask, kNumeric | kBool);
  if (mask.shape.empty() || mask.shape.size() > 4) bad(context, "attn_mask: found {}", to_string(mask));
  const auto excess = (mask.shape.back() - scores[3]).constant();
  if (excess && *excess > 0)
    bad(context, "attn_mask {} is wider than {}", to_string(mask), scores[3].to_string());
  for (size_t i = 1; i < mask.shape.size(); ++i) {
    const Dim& dim = mask.shape[mask.shape.size() - 1 - i];
    if (!(dim == Dim(1))) require_dims_agree(context, "attn_mask", dim, scores[3 - i]);
  }
}

void check_options(const InferContext& context) {
  if (context.has_input(kPastKey) != context.has_input(kPastValue))
    bad(context, "past_key and past_value go together");
  if (context.has_input(kValidLength) && context.has_input(kPastKey)) {
    bad(context, "nonpad_kv_seqlen cannot be combined with past_key");
  }
  const int64_t mode = context.attributes.get_int("qk_matmul_output_mode", 0);
  if (mode < 0 || mode > 3) bad(context, "qk_matmul_output_mode is {}", mode);
  for (const std::string_view side : {"left_window_size", "right_window_size"}) {
    if (context.attributes.get_int(side, -1) < -1) bad(context, "{} is below -1", side);
  }
  const int64_t precision = context.attributes.get_int("softmax_precision", 1);
  if (precision != 1 && precision != 10 && precision != 11 && precision != 16) {
    bad(context, "softmax_precision is {}", precision);
  }
}

void infer_attention(InferContext& context) {
  const TypeInfo& query = require(context, kQ, kFloat);
  const TypeInfo& value = require(context, kV, kFloat);
  require_same_dtype(context, kQ, kK);
  require_same_dtype(context, kK, kPastKey);
  require_same_dtype(context, kV, kPastValue);
  require_rank(context, kK, query.shape.size());
  require_rank(context, kV, query.shape.size());
  check_options(context);
  const tensor::Shape q = head_shape(context, kQ, "q_num_heads");
  const tensor::Shape k = head_shape(context, kK, "kv_num_heads");
  const tensor::Shape v = head_shape(context, kV, "kv_num_heads");
  require_dims_agree(context, "batch of Q and K", q[0], k[0]);
  require_dims_agree(context, "batch of Q and V", q[0], v[0]);
  require_dims_agree(context, "heads of K and V", k[1], v[1]);
  require_dims_agree(context, "length of K and V", k[2], v[2]);
  require_dims_agree(context, "head size of Q and K", q[3], k[3]);
  const auto q_heads = q[1].constant();
  const auto kv_heads = k[1].constant();
  if (q_heads && kv_heads && (*kv_heads == 0 || *q_heads % *kv_heads != 0)) {
    bad(context, "{} query heads on {} key heads", *q_heads, *kv_heads);
  }
  Dim total = k[2];
  if (context.has_input(kPastKey)) {
    require_rank(context, kPastKey, 4);
    require_rank(context, kPastValue, 4);
    const tensor::Shape& past_key = context.input(kPastKey).shape;
    const tensor::Shape& past_value = context.input(kPastValue).shape;
    for (const size_t i : {size_t{0}, size_t{1}, size_t{3}}) {
      require_dims_agree(context, "past_key", past_key[i], k[i]);
      require_dims_agree(context, "past_value", past_value[i], v[i]);
    }
    require_dims_agree(context, "length of past_key and past_value", past_key[2], past_value[2]);
    total = total + past_key[2];
  }
  if (context.has_input(kValidLength)) {
    require_dtype(context, kValidLength, DType::i64);
    require_rank(context, kValidLength, 1);
    require_dims_agree(context, "nonpad_kv_seqlen", context.input(kValidLength).shape[0], q[0]);
  }
  const tensor::Shape scores{q[0], q[1], q[2], total};
  if (context.has_input(kMask)) check_mask(context, scores);
  const tensor::Shape out = query.shape.size() == 4 ? tensor::Shape{q[0], q[1], q[2], v[3]}
                                                    : tensor::Shape{q[0], q[2], q[1] * v[3]};
  const TypeInfo types[] = {{query.dtype, out, std::nullopt},
                            {query.dtype, {k[0], k[1], total, k[3]}, std::nullopt},
                            {value.dtype, {v[0], v[1], total, v[3]}, std::nullopt},
                            {query.dtype, scores, std::nullopt}};
  for (size_t i = 0; i < context.outputs.size(); ++i) context.outputs[i] = types[i];
}

// Values as [batch, heads, seq, dim].
struct Heads {
  int64_t batch, heads, length, dim;
  std::vector<double> values;
  const double* row(int64_t b, int64_t h, int64_t s) const {
    return values.data() + ((b * heads + h) * length + s) * dim;
  }
};

Heads load_heads(const Tensor& x, int64_t num_heads) {
  std::vector<double> values = load<double>(x);
  const tensor::Dims& d = x.dims();
  if (x.rank() == 4) return {d[0], d[1], d[2], d[3], std::move(values)};
  Heads result{d[0], num_heads, d[1], d[2] / num_heads, std::vector<double>(values.size())};
  // [batch, seq, heads, dim] -> [batch, heads, seq, dim]
  Walk walk({d[0], num_heads, d[1], result.dim}, {d[1] * d[2], result.dim, d[2], 1});
  for (double& value : result.values) value = values[size_t(walk.next())];
  return result;
}

// past followed by the new rows, along the sequence.
Heads append(const Tensor& past, const Heads& more) {
  if (!past.defined()) return more;
  const std::vector<double> before = load<double>(past);
  const int64_t length = past.dims()[2];
  Heads result{more.batch, more.heads, length + more.length, more.dim, {}};
  for (int64_t i = 0; i < more.batch * more.heads; ++i) {
    const auto part = [&](const std::vector<double>& values, int64_t rows) {
      const auto from = values.begin() + std::ptrdiff_t(i * rows * more.dim);
      result.values.insert(result.values.end(), from, from + std::ptrdiff_t(rows * more.dim));
    };
    part(before, length);
    part(more.values, more.length);
  }
  return result;
}

// What is added to the score of query row i and key j of a head: the mask, or minus infinity where causality,
// the window or padding forbids the key.
class Bias {
 public:
  Bias(const EvaluateContext& context, tensor::Dims scores) : scores_(std::move(scores)) {
    causal_ = context.attributes.get_int("is_causal", 0) != 0;
    left_ = context.attributes.get_int("left_window_size", -1);
    right_ = context.attributes.get_int("right_window_size", -1);
    if (context.has_input(kPastKey)) past_ = context.inputs[kPastKey].dims()[2];
    if (context.has_input(kValidLength)) valid_ = load<int64_t>(context.inputs[kValidLength]);
    if (!context.has_input(kMask)) return;
    const Tensor& mask = context.inputs[kMask];
    mask_ = load<double>(mask);
    if (mask.dtype() == DType::boolean) {
      for (double& value : mask_) value = value != 0 ? 0 : kMasked;
    }
    mask_width_ = mask.dims().back();
    tensor::Dims target = scores_;
    target.back() = mask_width_;
    mask_strides_ = broadcast_strides(mask.dims(), target);
    if (mask_width_ == 1) mask_strides_.back() = 0;
  }

  double at(int64_t b, int64_t h, int64_t i, int64_t j) const {
    // Position of the query among the keys: after the past, or so that the last query meets the last valid
    // key.
    const int64_t position = i + (valid_.empty() ? past_ : valid_[size_t(b)] - scores_[2]);
    if (causal_ && j > position) return kMasked;
    if (left_ >= 0 && position - j > left_) return kMasked;
    if (right_ >= 0 && j - position > right_) return kMasked;
    if (!valid_.empty() && j >= valid_[size_t(b)]) return kMasked;
    if (mask_strides_.empty()) return 0;
    if (j >= mask_width_) return kMasked;  // a shorter mask is filled with minus infinity
    const tensor::Dims& s = mask_strides_;
    return mask_[size_t(b * s[0] + h * s[1] + i * s[2] + j * s[3])];
  }

 private:
  tensor::Dims scores_;  // [batch, heads, queries, keys]
  bool causal_ = false;
  int64_t left_ = -1;
  int64_t right_ = -1;
  int64_t past_ = 0;
  std::vector<int64_t> valid_;  // [batch], or empty
  std::vector<double> mask_;
  int64_t mask_width_ = 0;
  tensor::Dims mask_strides_;
};

// Scores to probabilities in place, [batch, heads, queries, keys]; `shown` gets the stage that
// qk_matmul_output_mode asks for. A row whose keys are all masked becomes zero.
void score_rows(const EvaluateContext& context, const Bias& bias, const tensor::Dims& dims,
                std::vector<double>& scores, std::vector<double>& shown) {
  const int64_t mode = context.attributes.get_int("qk_matmul_output_mode", 0);
  const double softcap = context.attributes.get_float("softcap", 0);
  if (mode == 0) shown = scores;
  if (softcap > 0) {
    for (double& score : scores) score = softcap * std::tanh(score / softcap);
  }
  if (mode == 1) shown = scores;
  Walk walk(dims, contiguous_strides(dims));
  std::vector<bool> open(size_t(count_of(dims, 0, 3)));
  for (double& score : scores) {
    const tensor::Dims& at = walk.index();
    const double addend = bias.at(at[0], at[1], at[2], at[3]);
    const int64_t row = walk.next() / dims[3];
    score += addend;
    if (addend != kMasked) open[size_t(row)] = true;
  }
  if (mode == 2) shown = scores;
  for (size_t row = 0; row < open.size(); ++row) {
    const Line line{int64_t(row) * dims[3], 1, dims[3]};
    if (open[row])
      softmax_line(scores, line, true);
    else
      std::fill_n(scores.begin() + std::ptrdiff_t(line.start), line.count, 0.0);
  }
  if (mode == 3) shown = scores;
}

void evaluate_attention(EvaluateContext& context) {
  const Tensor& query = context.inputs[kQ];
  const auto past = [&](size_t i) { return context.has_input(i) ? context.inputs[i] : Tensor(); };
  const int64_t kv_heads = context.attributes.get_int("kv_num_heads", 1);
  const Heads q = load_heads(query, context.attributes.get_int("q_num_heads", 1));
  const Heads k = append(past(kPastKey), load_heads(context.inputs[kK], kv_heads));
  const Heads v = append(past(kPastValue), load_heads(context.inputs[kV], kv_heads));
  const tensor::Dims dims{q.batch, q.heads, q.length, k.length};
  const double scale = context.attributes.get_float("scale", 1 / std::sqrt(double(q.dim)));
  const int64_t group = q.heads / k.heads;
  std::vector<double> scores;
  for (int64_t b = 0; b < q.batch; ++b) {
    for (int64_t h = 0; h < q.heads; ++h) {
      for (int64_t i = 0; i < q.length; ++i) {
        for (int64_t j = 0; j < k.length; ++j) {
          scores.push_back(scale * dot(q.row(b, h, i), 1, k.row(b, h / group, j), 1, q.dim));
        }
      }
    }
  }
  std::vector<double> shown;
  score_rows(context, Bias(context, dims), dims, scores, shown);

  const bool packed = query.rank() == 3;
  std::vector<double> out(size_t(q.batch * q.heads * q.length * v.dim));
  for (int64_t b = 0; b < q.batch; ++b) {
    for (int64_t h = 0; h < q.heads; ++h) {
      for (int64_t i = 0; i < q.length; ++i) {
        const double* weights = scores.data() + ((b * q.heads + h) * q.length + i) * k.length;
        const int64_t row = packed ? (b * q.length + i) * q.heads + h : (b * q.heads + h) * q.length + i;
        for (int64_t j = 0; j < k.length; ++j) {
          if (weights[j] == 0) continue;  // a masked key counts for nothing, even if its value is infinite
          const double* value = v.row(b, h / group, j);
          for (int64_t d = 0; d < v.dim; ++d) out[size_t(row * v.dim + d)] += weights[j] * value[d];
        }
      }
    }
  }
  const tensor::Dims out_dims = packed ? tensor::Dims{q.batch, q.length, q.heads * v.dim}
                                       : tensor::Dims{q.batch, q.heads, q.length, v.dim};
  const DType dtype = query.dtype();
  const size_t wanted = context.outputs.size();
  context.outputs[0] = store(dtype, out_dims, out);
  if (wanted > 1) context.outputs[1] = store(dtype, {k.batch, k.heads, k.length, k.dim}, k.values);
  if (wanted > 2)
    context.outputs[2] = store(context.inputs[kV].dtype(), {v.batch, v.heads, v.length, v.dim}, v.values);
  if (wanted > 3) context.outputs[3] = store(dtype, dims, shown);
}

}  // namespace

const OpDef& attention_op() {
  static const OpDef def{
      .name = "Attention",
      .min_inputs = 3,
      .max_inputs = 7,
      .min_outputs = 1,
      .max_outputs = 4,
      .attributes = {{"is_causal", AttributeKind::integer},
                     {"kv_num_heads", AttributeKind::integer},
                     {"left_window_size", AttributeKind::integer, false, 25},
                     {"q_num_heads", AttributeKind::integer},
                     {"qk_matmul_output_mode", AttributeKind::integer},
                     {"right_window_size", AttributeKind::integer, false, 25},
                     {"scale", AttributeKind::real},
                     {"softcap", AttributeKind::real},
                     {"softmax_precision", AttributeKind::integer}},
      .since = 23,
      .inputs_since = {{6, 24}},
      .infer = infer_attention,
      .evaluate = evaluate_attention,
  };
  return def;
}

}  // namespace lathe::op
