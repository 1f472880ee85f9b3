// What a launch may be: arguments of the ABI checked, and the form of the kernel chosen. No CUDA, so that tests see it.
#pragma once

#include "backend/cuda/kernels/linear_decode.h"
#include "backend/cuda/kernels/linear_prefill.h"
#include "backend/cuda/kernels/paged_attention.h"
#include "backend/cuda/library/message.h"

namespace lathe::backend::cuda {

constexpr int kMostBlocksY = 65535;             // of a grid in y and in z
constexpr int kSharedWithoutAsking = 48 << 10;  // bytes of a block; more has to be asked for
constexpr int kMostStaticShared = 1 << 10;      // beside dynamic shared memory, in any kernel here

inline bool is_aligned(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % sizeof(Quad) == 0;
}

inline bool gates(int32_t function) {
  return function >= LATHE_CUDA_SILU_GATE && function <= LATHE_CUDA_GELU_TANH_GATE;
}

// Sizes that both products have.
template <class Call>
int32_t check_product(const Call& call, const char* kernel, LatheCudaMessage* message) {
  if (call.tokens < 0 || call.columns < 1 || call.rows < 1) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: %d tokens, %d columns, %d rows", kernel, call.tokens,
                  call.columns, call.rows);
  }
  if (call.y_first < 0 || call.y_first > call.y_stride - call.rows) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: %d rows from %d on do not fit into %d", kernel, call.rows,
                  call.y_first, call.y_stride);
  }
  if (call.function < LATHE_CUDA_IDENTITY || call.function > LATHE_CUDA_RELU) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: function %d", kernel, call.function);
  }
  if (!call.x || !call.weights || !call.y) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: x, weights or y is null", kernel);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_linear_decode(const LatheCudaLinearDecode& call, LatheCudaMessage* message) {
  if (const int32_t status = check_product(call, "linear_decode", message)) return status;
  if (call.format < LATHE_CUDA_F32 || call.format > LATHE_CUDA_BF16) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode: format %d", call.format);
  }
  if (call.norm < LATHE_CUDA_NORM_NONE || call.norm > LATHE_CUDA_NORM_LAYER || call.rounding < LATHE_CUDA_ROUND_NONE ||
      call.rounding > LATHE_CUDA_ROUND_BF16) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode: norm %d, rounding %d", call.norm, call.rounding);
  }
  if ((call.norm != LATHE_CUDA_NORM_NONE) != (call.norm_scale != nullptr) || (call.norm_bias && !call.norm_scale)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode: norm %d with%s a scale", call.norm,
                  call.norm_scale ? "" : "out");
  }
  if (gates(call.function) != (call.gate != nullptr) || (call.gate_bias && !call.gate)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode: function %d with%s a gate", call.function,
                  call.gate ? "" : "out");
  }
  return LATHE_CUDA_OK;
}

// Whether weights can be read sixteen bytes at a time.
inline bool decodes_by_vectors(const LatheCudaLinearDecode& call) {
  const int in_quad = call.format == LATHE_CUDA_F32 ? F32Format::kInQuad : F16Format::kInQuad;
  return call.columns % in_quad == 0 && is_aligned(call.weights) && is_aligned(call.gate);
}

// Tokens that a block takes, whose activations lie in shared memory; 0 where not even one fits. A token's bits do not
// depend on it.
inline int decode_tokens(const LatheCudaLinearDecode& call, uint64_t shared_per_block) {
  constexpr uint64_t kScratch = kDecodeThreads / 32 * sizeof(float);
  const uint64_t token = uint64_t(call.columns) * sizeof(float);
  const uint64_t fitting = shared_per_block > kScratch ? (shared_per_block - kScratch) / token : 0;
  const int most = call.tokens < kDecodeTokens ? call.tokens : kDecodeTokens;
  return fitting < uint64_t(most) ? int(fitting) : most;
}

inline int32_t check_linear_prefill(const LatheCudaLinearPrefill& call, LatheCudaMessage* message) {
  if (const int32_t status = check_product(call, "linear_prefill", message)) return status;
  if (call.format != LATHE_CUDA_F16 && call.format != LATHE_CUDA_BF16) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_prefill: format %d", call.format);
  }
  if (gates(call.function)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_prefill: function %d has a gate", call.function);
  }
  if (!is_aligned(call.x) || !is_aligned(call.weights)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_prefill: x or weights is not aligned to 16 bytes");
  }
  if (call.columns % kDepth != 0) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_prefill: %d columns, expected a multiple of %d",
                  call.columns, kDepth);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_paged_attention(const LatheCudaPagedAttention& call, LatheCudaMessage* message) {
  if (call.tokens < 0 || call.heads < 1 || call.kv_heads < 1 || call.head_dim < 1 || call.part_count < 1 ||
      call.blocks_per_sequence < 1 || call.heads % call.kv_heads != 0) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT,
                  "paged_attention: %d tokens, %d heads, %d of keys, of %d, %d parts, %d blocks a sequence",
                  call.tokens, call.heads, call.kv_heads, call.head_dim, call.part_count, call.blocks_per_sequence);
  }
  if (call.format < LATHE_CUDA_F32 || call.format > LATHE_CUDA_BF16) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "paged_attention: format %d", call.format);
  }
  if (call.rotary_dim < 0 || call.rotary_dim > call.head_dim || call.rotary_dim % 2 != 0 ||
      (call.rotary_dim > 0) != (call.cos != nullptr) || (call.cos != nullptr) != (call.sin != nullptr)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "paged_attention: %d of %d dimensions rotate, cos %s, sin %s",
                  call.rotary_dim, call.head_dim, call.cos ? "given" : "null", call.sin ? "given" : "null");
  }
  if (!call.qkv || !call.sequence || !call.position || !call.block_table || !call.cache || !call.queries ||
      !call.parts || !call.out || !is_aligned(call.cache)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT,
                  "paged_attention: null, or a cache that is not aligned to 16 bytes");
  }
  if (call.head_dim > kMostHeadDim) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "paged_attention: heads of %d, expected %d at the most",
                  call.head_dim, kMostHeadDim);
  }
  if (call.tokens > kMostBlocksY || call.kv_heads > kMostBlocksY) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED,
                  "paged_attention: %d tokens, %d heads of keys, expected %d at the most", call.tokens, call.kv_heads,
                  kMostBlocksY);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_normalise(const LatheCudaNormalise& call, LatheCudaMessage* message) {
  if (call.tokens < 0 || call.columns < 1 || !call.x || !call.y || call.norm < LATHE_CUDA_NORM_NONE ||
      call.norm > LATHE_CUDA_NORM_LAYER || call.rounding < LATHE_CUDA_ROUND_NONE ||
      call.rounding > LATHE_CUDA_ROUND_BF16 || (call.norm != LATHE_CUDA_NORM_NONE) != (call.scale != nullptr) ||
      (call.bias && !call.scale)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT,
                  "normalise: %d tokens, %d columns, norm %d, rounding %d, scale %s, bias %s, x or y null", call.tokens,
                  call.columns, call.norm, call.rounding, call.scale ? "given" : "null", call.bias ? "given" : "null");
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_combine(const LatheCudaCombine& call, LatheCudaMessage* message) {
  if (call.count < 0 || !call.a || !call.b || !call.y ||
      (call.operation != LATHE_CUDA_ADD && call.operation != LATHE_CUDA_MULTIPLY)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "combine: %lld numbers, operation %d, or null",
                  static_cast<long long>(call.count), call.operation);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_place_columns(const LatheCudaPlaceColumns& call, LatheCudaMessage* message) {
  if (call.tokens < 0 || call.columns < 1 || !call.x || !call.y || call.y_first < 0 ||
      call.y_first > call.y_stride - call.columns) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "place_columns: %d columns from %d on of %d, %d tokens, or null",
                  call.columns, call.y_first, call.y_stride, call.tokens);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_look_up(const LatheCudaLookUp& call, LatheCudaMessage* message) {
  if (call.count < 0 || call.columns < 1 || !call.rows || !call.table || !call.y || call.format < LATHE_CUDA_F32 ||
      call.format > LATHE_CUDA_BF16) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "look_up: %d rows of %d columns, format %d, or null", call.count,
                  call.columns, call.format);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_rotary_table(const LatheCudaRotaryTable& call, LatheCudaMessage* message) {
  if (call.tokens < 0 || call.half < 1 || !call.positions || !call.cos || !call.sin || !(call.base >= 0) ||
      (call.base > 0) == (call.frequencies != nullptr)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "rotary_table: %d tokens, %d pairs, base %g, frequencies %s",
                  call.tokens, call.half, call.base, call.frequencies ? "given" : "null");
  }
  return LATHE_CUDA_OK;
}

// Lanes that hold a head: 8, 16 or 32.
inline int attention_lanes(int head_dim) {
  int lanes = 8;
  while (lanes * kLaneDims < head_dim) lanes *= 2;
  return lanes;
}

}  // namespace lathe::backend::cuda
