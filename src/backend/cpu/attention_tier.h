// What attention.cpp needs from each tier: the arithmetic, without threads. One table per tier.
//
// Included by files compiled with a tier's flags: declarations of plain structs only.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

namespace lathe::backend::cpu {

// Where the parts of a cache block are: [kv_heads] times (keys [head_dim][64], values [64][value_dim]).
// Keys are transposed, so that 64 scores come from broadcast queries without any horizontal sum, and values
// are padded with zeros to whole vectors of 16.
struct KvLayout {
  tensor::DType dtype;
  int64_t head_dim;
  int64_t value_dim;    // head_dim rounded up to 16
  size_t element_size;  // bytes
  size_t head_size;     // bytes of one head in a block
  size_t block_size;    // bytes
};

// Tokens of one sequence and one KV head whose queries are rotated and whose key and value are appended.
struct AppendRun {
  const float* queries;  // of the first token's first query head; heads of the group follow each other
  const float* key;
  const float* value;
  int64_t token_stride;  // floats from one token to the next, for all three
  int64_t tokens;
  int64_t group;     // query heads per KV head
  float scale;       // query = rotated * scale
  const float* cos;  // [tokens, rotary_dim / 2] or null
  const float* sin;
  int64_t rotary_dim;
  bool interleaved;
  int64_t first_position;
  const int32_t* blocks;  // of the sequence
  std::byte* cache;       // already at this KV head
  float* rotated;         // out: [tokens, group, head_dim]
  float* row;             // scratch: [2, value_dim]
};

// Consecutive tokens of one sequence and one KV head that attend together; row = token * group + query head.
struct AttentionTile {
  const float* queries;  // [rows, head_dim], rotated and scaled
  int64_t rows;
  int64_t group;
  int64_t first_position;  // of the token of row 0
  const int32_t* blocks;
  const std::byte* cache;  // already at this KV head
  float* scores;           // scratch: [kDirectRows][64]
  float* keys;             // scratch: [head_dim][64], not used for f32 caches
  float* values;           // scratch: [64][value_dim], not used for f32 caches
};

// Tiles of up to this many rows read the cache without the detour over f32 scratch: each element is converted
// once, in a register.
constexpr int64_t kDirectRows = 12;

// Softmax-weighted sums over some of the keys, mergeable with those over others.
struct AttentionState {
  float* maximum;  // [rows] of the scores
  float* sum;      // [rows] of e^(score - maximum)
  float* output;   // [rows, value_dim]: sum of e^(score - maximum) * value
};

struct AttentionTier {
  void (*append)(const KvLayout&, const AppendRun&) noexcept;
  // Fills `state` with the part that blocks [begin, end) of the sequence contribute.
  void (*attend)(const KvLayout&, const AttentionTile&, int64_t begin, int64_t end,
                 const AttentionState& state) noexcept;
  // into += from.
  void (*merge)(const AttentionState& into, const AttentionState& from, int64_t rows,
                int64_t value_dim) noexcept;
  // out[token * stride + g * head_dim + i] = output / sum.
  void (*finish)(const KvLayout&, const AttentionTile&, const AttentionState&, float* out,
                 int64_t stride) noexcept;
};

namespace avx2 {
extern const AttentionTier attention_tier;
}
namespace avx512 {
extern const AttentionTier attention_tier;
}

}  // namespace lathe::backend::cpu
