// Rotary embedding, cache append and causal attention over a paged cache, for any mix of sequences: what
// backend/cpu/attention.h computes.
//
// Inputs: qkv f32 [T, (Hq + 2 Hkv) D], cos? and sin? f32 [T, R/2], first_token i32 [S+1], first_position i32
// [S], block_table i32 [S, B], key_cache and value_cache [blocks, Hkv, block, D] of f32, f16 or bf16.
// Outputs: y f32 [T, Hq D], and the caches with this step's keys and values. Keys and values are rounded to
// the cache's type before use; queries stay f32. Tokens after first_token[S] belong to nobody: their y is 0.
#include <cmath>
#include <utility>

#include "op/inference.h"
#include "op/lines.h"
#include "op/rotation.h"

namespace lathe::op {
namespace {

using tensor::Dim;
using tensor::DType;
using tensor::Tensor;

enum Input : size_t { kQkv, kCos, kSin, kFirstToken, kFirstPosition, kBlockTable, kKeyCache, kValueCache };

void infer_paged_attention(InferContext& context) {
  const Attributes& a = context.attributes;
  const int64_t heads = a.get_int("num_heads", 0);
  const int64_t kv_heads = a.get_int("kv_heads", 0);
  const int64_t head_dim = a.get_int("head_dim", 0);
  const int64_t rotary = a.get_int("rotary_dim", 0);
  if (heads < 1 || kv_heads < 1 || heads % kv_heads != 0)
    bad(context, "{} heads on {} kv_heads", heads, kv_heads);
  if (head_dim < 1 || head_dim > 65536) bad(context, "head_dim is {}", head_dim);
  constexpr int64_t kMostHeads = 65536;  // keeps the widths below far from overflow
  if (heads > kMostHeads || kv_heads > kMostHeads) bad(context, "{} heads, {} key-value heads", heads, kv_heads);
  if (rotary < 0 || rotary % 2 != 0 || rotary > head_dim)
    bad(context, "rotary_dim {} of head_dim {}", rotary, head_dim);
  const TypeInfo& qkv = require_dtype(context, kQkv, DType::f32);
  require_rank(context, kQkv, 2);
  require_dims_agree(context, "width of qkv", qkv.shape[1], Dim((heads + 2 * kv_heads) * head_dim));
  for (const size_t i : {kCos, kSin}) {
    if (context.has_input(i) != (rotary > 0))
      bad(context, "rotary_dim is {}: cos and sin go with it", rotary);
    if (rotary == 0) continue;
    require_dtype(context, i, DType::f32);
    require_rank(context, i, 2);
    require_dims_agree(context, "tokens", context.input(i).shape[0], qkv.shape[0]);
    require_dims_agree(context, "pairs", context.input(i).shape[1], Dim(rotary / 2));
  }
  for (const size_t i : {kFirstToken, kFirstPosition, kBlockTable}) {
    require_dtype(context, i, DType::i32);
    require_rank(context, i, i == kBlockTable ? 2 : 1);
  }
  const Dim sequences = context.input(kFirstPosition).shape[0];
  require_dims_agree(context, "first_token", context.input(kFirstToken).shape[0], sequences + Dim(1));
  require_dims_agree(context, "block_table", context.input(kBlockTable).shape[0], sequences);
  for (const size_t i : {kKeyCache, kValueCache}) {
    require(context, i, kF32 | kF16 | kBf16);
    require_same_dtype(context, kKeyCache, i);
    require_rank(context, i, 4);
    const tensor::Shape& cache = context.input(i).shape;
    require_dims_agree(context, "blocks", cache[0], context.input(kKeyCache).shape[0]);
    require_dims_agree(context, "kv_heads of the cache", cache[1], Dim(kv_heads));
    require_dims_agree(context, "positions of a block", cache[2], context.input(kKeyCache).shape[2]);
    require_dims_agree(context, "head_dim of the cache", cache[3], Dim(head_dim));
  }
  context.outputs[0] = {DType::f32, {qkv.shape[0], Dim(heads * head_dim)}, std::nullopt};
  for (size_t i = 1; i < context.outputs.size(); ++i) context.outputs[i] = *context.inputs[kKeyCache + i - 1];
}

// One step, with the sizes and the data at hand.
class Step {
 public:
  explicit Step(EvaluateContext& context)
      : heads_(context.attributes.get_int("num_heads", 0)),
        kv_heads_(context.attributes.get_int("kv_heads", 0)),
        dim_(context.attributes.get_int("head_dim", 0)),
        width_((heads_ + 2 * kv_heads_) * dim_),
        scale_(context.attributes.get_float("scale", 1 / std::sqrt(double(dim_)))),
        qkv_(tensor::to_floats(context.inputs[kQkv])),
        first_token_(load<int64_t>(context.inputs[kFirstToken])),
        first_position_(load<int64_t>(context.inputs[kFirstPosition])),
        block_table_(load<int64_t>(context.inputs[kBlockTable])),
        blocks_per_sequence_(context.inputs[kBlockTable].dims()[1]),
        cache_dims_(context.inputs[kKeyCache].dims()),
        cache_dtype_(context.inputs[kKeyCache].dtype()),
        keys_(load<double>(context.inputs[kKeyCache])),
        values_(load<double>(context.inputs[kValueCache])) {
    check(context.inputs[kQkv].dims()[0]);
    if (context.has_input(kCos)) rotate(context);
  }

  // Writes keys and values of all tokens; the rounding is that of the cache's type.
  void append() {
    const std::vector<float> rounded = tensor::to_floats(
        store(cache_dtype_, {int64_t(qkv_.size())}, std::vector<double>(qkv_.begin(), qkv_.end())));
    for (size_t s = 0; s < first_position_.size(); ++s) {
      for (int64_t t = first_token_[s]; t < first_token_[s + 1]; ++t) {
        for (int64_t h = 0; h < kv_heads_; ++h) {
          const float* key = rounded.data() + t * width_ + (heads_ + h) * dim_;
          const int64_t to = cache_offset(s, first_position_[s] + t - first_token_[s], h);
          for (int64_t d = 0; d < dim_; ++d) {
            keys_[size_t(to + d)] = key[d];
            values_[size_t(to + d)] = key[kv_heads_ * dim_ + d];
          }
        }
      }
    }
  }

  // y of all tokens: each attends to the positions of its sequence up to its own.
  std::vector<double> attend() const {
    std::vector<double> out(qkv_.size() / size_t(width_) * size_t(heads_ * dim_));
    for (size_t s = 0; s < first_position_.size(); ++s) {
      for (int64_t t = first_token_[s]; t < first_token_[s + 1]; ++t) {
        const int64_t keys = first_position_[s] + t - first_token_[s] + 1;
        for (int64_t h = 0; h < heads_; ++h) attend_head(s, t, h, keys, out.data() + (t * heads_ + h) * dim_);
      }
    }
    return out;
  }

  Tensor key_cache() const { return store(cache_dtype_, cache_dims_, keys_); }
  Tensor value_cache() const { return store(cache_dtype_, cache_dims_, values_); }

 private:
  // The tables must describe the tokens, and stay within the cache.
  void check(int64_t tokens) const {
    bool good = first_token_.front() == 0 && first_token_.back() <= tokens;
    for (size_t s = 0; good && s < first_position_.size(); ++s) {
      const int64_t count = first_token_[s + 1] - first_token_[s];
      good = count >= 0 && first_position_[s] >= 0 &&
             first_position_[s] + count <= blocks_per_sequence_ * cache_dims_[2];
    }
    if (!good)
      fail(ErrorCode::invalid_input, "lathe.PagedAttention: first_token or first_position out of range");
  }

  void rotate(const EvaluateContext& context) {
    const bool interleaved = context.attributes.get_int("interleaved", 0) != 0;
    const int64_t pairs = context.inputs[kCos].dims()[1];
    const auto cos = std::as_const(context.inputs[kCos]).data<float>();
    const auto sin = std::as_const(context.inputs[kSin]).data<float>();
    for (int64_t t = 0; t < int64_t(qkv_.size()) / width_; ++t) {
      for (int64_t h = 0; h < heads_ + kv_heads_; ++h) {
        rotate_head(qkv_.data() + t * width_ + h * dim_, cos.data() + t * pairs, sin.data() + t * pairs,
                    pairs, interleaved);
      }
    }
  }

  // Where the key of a position begins in the caches.
  int64_t cache_offset(size_t sequence, int64_t position, int64_t kv_head) const {
    const int64_t block_length = cache_dims_[2];
    const int64_t block =
        block_table_[sequence * size_t(blocks_per_sequence_) + size_t(position / block_length)];
    if (block < 0 || block >= cache_dims_[0]) {
      fail(ErrorCode::invalid_input, "lathe.PagedAttention: block {} of {}", block, cache_dims_[0]);
    }
    return ((block * kv_heads_ + kv_head) * block_length + position % block_length) * dim_;
  }

  void attend_head(size_t sequence, int64_t token, int64_t head, int64_t keys, double* out) const {
    const int64_t kv_head = head / (heads_ / kv_heads_);
    const float* query = qkv_.data() + token * width_ + head * dim_;
    std::vector<double> weights;
    for (int64_t j = 0; j < keys; ++j) {
      const double* key = keys_.data() + cache_offset(sequence, j, kv_head);
      double sum = 0;
      for (int64_t d = 0; d < dim_; ++d) sum += double(query[d]) * key[d];
      weights.push_back(sum * scale_);
    }
    softmax_line(weights, Line{0, 1, keys});
    for (int64_t j = 0; j < keys; ++j) {
      const double* value = values_.data() + cache_offset(sequence, j, kv_head);
      for (int64_t d = 0; d < dim_; ++d) out[d] += weights[size_t(j)] * value[d];
    }
  }

  int64_t heads_, kv_heads_, dim_, width_;
  double scale_;
  std::vector<float> qkv_;  // [tokens, width]; queries and keys rotated
  std::vector<int64_t> first_token_, first_position_, block_table_;
  int64_t blocks_per_sequence_;
  tensor::Dims cache_dims_;  // [blocks, kv_heads, positions, dim]
  DType cache_dtype_;
  std::vector<double> keys_, values_;
};

void evaluate_paged_attention(EvaluateContext& context) {
  Step step(context);
  step.append();
  const tensor::Dims& qkv = context.inputs[kQkv].dims();
  const int64_t width =
      context.attributes.get_int("num_heads", 0) * context.attributes.get_int("head_dim", 0);
  context.outputs[0] = store(DType::f32, {qkv[0], width}, step.attend());
  if (context.outputs.size() > 1) context.outputs[1] = step.key_cache();
  if (context.outputs.size() > 2) context.outputs[2] = step.value_cache();
}

}  // namespace

const OpDef& lathe_paged_attention_op() {
  static const OpDef def{
      .name = "lathe.PagedAttention",
      .min_inputs = 8,
      .max_inputs = 8,
      .min_outputs = 1,
      .max_outputs = 3,
      .attributes = {{"head_dim", AttributeKind::integer, true},
                     {"interleaved", AttributeKind::integer},
                     {"kv_heads", AttributeKind::integer, true},
                     {"num_heads", AttributeKind::integer, true},
                     {"rotary_dim", AttributeKind::integer},
                     {"scale", AttributeKind::real}},
      .infer = infer_paged_attention,
      .evaluate = evaluate_paged_attention,
  };
  return def;
}

}  // namespace lathe::op
