// What the contrib attentions share: heads, masks, caches.
#pragma once

#include "frontend/contrib/parts.h"

namespace lathe::frontend {

// [batch, seq, heads * dim] to [batch, heads, seq, dim] and back to [batch, seq, width].
Value split_heads(const Builder& b, Value x, int64_t heads);
Value join_heads(const Builder& b, Value x);

// RotaryEmbedding of [batch, seq, heads * dim] (of [batch, heads, seq, dim] where `heads` is 0) by the rows of the
// caches [max, pairs] at `positions` [batch, seq]; further elements of a head stay as they are.
Value rotate(const Builder& b, Value x, int64_t heads, Value cos, Value sin, Value positions, bool interleaved);

// What is added to scores [batch, heads, seq, total]: all of it optional, and in terms of the operator's own inputs.
struct ScoreBias {
  size_t mask;             // input: i32 [batch] lengths, [2 batch] ends and starts, [batch, total], [batch, seq, total]
  size_t bias;             // input of the scores' type
  double filter = -10000;  // added where the mask is 0
};
// Absent where the node has neither. `keys` [batch, total, ..] or the like and `past` (absent, or with its length at
// axis `past_axis`) say how long total is; `batch` is the batch's dimension.
struct KeyLength {
  tensor::Dim batch;
  Value keys;
  int64_t axis;
  Value past;
  int64_t past_axis;
};
Value score_bias(const ContribNode& n, const ScoreBias& from, const KeyLength& length, tensor::DType dtype);

// The attributes of Attention: heads, scale (0 and absent: the usual one), causality.
op::Attributes attention_attributes(const ContribNode& n, int64_t heads, int64_t kv_heads, bool flat, bool causal);

}  // namespace lathe::frontend
