// Rotary embedding, cache append and attention over a paged KV cache, for any mix of sequences.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/isa.h"
#include "backend/kv_shape.h"
#include "base/team.h"

namespace lathe::backend::cpu {

// The cache of one layer: blocks of kKvBlock positions; a block holds keys and values of all KV heads.
// Layout inside a block (per head: keys transposed [head_dim][kKvBlock], then values [kKvBlock][head_dim
// rounded up to 16]) is the kernels' own business: only these functions read or write it. Blocks need no
// clearing.
constexpr int64_t kKvBlock = 64;

// Bytes of one block of one layer; a multiple of 64. Throws unsupported for other dtypes and no heads.
size_t kv_block_size(const KvShape& shape);
// Copies the first `count` positions of a block out as f32 [kv_heads, count, head_dim] each (tests, verify).
void read_kv_block(const KvShape& shape, const std::byte* block, int64_t count, float* keys, float* values);

struct AttentionCall {
  const float* qkv;  // [tokens, (heads + 2 * kv_heads) * head_dim]: queries, keys, values
  int64_t tokens;    // first_token[sequences]
  int64_t heads;     // a multiple of kv.kv_heads: query head h uses KV head h / (heads / kv_heads)
  KvShape kv;
  float scale;       // of the scores, usually 1 / sqrt(head_dim)
  const float* cos;  // [tokens, rotary_dim / 2], or null for no rotary
  const float* sin;
  int64_t rotary_dim = 0;    // leading dimensions of a head that rotate
  bool interleaved = false;  // pairs (0,1), (2,3) ...; else halves (i, i + rotary_dim / 2)
  // Tokens of a sequence stand together, in order of position. sequence s has tokens
  // [first_token[s], first_token[s + 1]), the first of them at position first_position[s]; keys and values of
  // the positions before it are in the cache already.
  int64_t sequences;
  const int32_t* first_token;     // [sequences + 1]
  const int32_t* first_position;  // [sequences]
  const int32_t* block_table;     // [sequences, blocks_per_sequence]: indices into cache
  int64_t blocks_per_sequence;
  std::byte* cache;    // this layer's blocks; block b begins at cache + b * kv_block_size
  float* out;          // [tokens, heads * head_dim]
  std::byte* scratch;  // attention_scratch_size bytes, 64-byte aligned, shared by the team
};

// Scratch for up to max_tokens tokens in a step, and any number of positions. Throws unsupported when `heads`
// is not a multiple of the KV heads, and as kv_block_size.
size_t attention_scratch_size(int64_t max_tokens, int64_t heads, const KvShape& kv, int threads);

// Rotates queries and keys, appends keys and values to the cache, attends causally. Same convention as
// LinearKernel: run by every member, barriers inside, caller's barrier before `out` is read by others.
// The bits of a sequence depend on its own tokens, its positions and how they were cut into steps: not on its
// block numbers, on the other sequences of the step, or on the size of the team (keys are cut by length
// alone, and the parts merged in order). Tiers may differ in the last bits.
using AttentionKernel = void (*)(const AttentionCall&, TeamMember&) noexcept;
AttentionKernel attention_kernel(Isa isa);

}  // namespace lathe::backend::cpu
