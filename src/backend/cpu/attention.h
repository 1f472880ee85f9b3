// Rotary embedding, cache append and attention over a paged KV cache, for any mix of sequences.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/isa.h"
#include "base/team.h"
#include "tensor/dtype.h"

namespace lathe::backend::cpu {

// The cache of one layer: blocks of kKvBlock positions; a block holds keys and values of all KV heads.
// Layout inside a block (per head: keys transposed [head_dim][kKvBlock], then values [kKvBlock][head_dim]) is
// the kernels' own business: only these functions read or write it.
constexpr int64_t kKvBlock = 64;

struct KvShape {
  tensor::DType dtype = tensor::DType::f32;  // f32, f16 or bf16
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};
size_t kv_block_size(const KvShape& shape);  // bytes of one block of one layer; a multiple of 64
// Copies the first `count` positions of a block out as f32 [kv_heads, count, head_dim] each (tests, verify).
void read_kv_block(const KvShape& shape, const std::byte* block, int64_t count, float* keys, float* values);

struct AttentionCall {
  const float* qkv;  // [tokens, (heads + 2 * kv_heads) * head_dim]: queries, keys, values
  int64_t tokens;
  int64_t heads;
  KvShape kv;
  float scale;               // of the scores, usually 1 / sqrt(head_dim)
  const float* cos;          // [tokens, rotary_dim / 2], or null for no rotary
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
  std::byte* cache;  // this layer's blocks; block b begins at cache + b * kv_block_size
  float* out;        // [tokens, heads * head_dim]
  std::byte* scratch;
};

// Scratch for up to max_tokens tokens in a step, and any number of positions.
size_t attention_scratch_size(int64_t max_tokens, int64_t heads, const KvShape& kv, int threads);

// Rotates queries and keys, appends keys and values to the cache, attends causally. Same convention as
// LinearKernel: run by every member, barriers inside, caller's barrier before `out` is read by others.
// With the same tokens, positions and team size a sequence gets the same bits whatever its block numbers are.
using AttentionKernel = void (*)(const AttentionCall&, TeamMember&) noexcept;
AttentionKernel attention_kernel(Isa isa);

}  // namespace lathe::backend::cpu
