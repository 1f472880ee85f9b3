// What launches on block-quantised weights may be; no CUDA, so that tests see it.
#pragma once

#include "backend/cuda/kernels/linear_decode_blocks.h"
#include "backend/cuda/kernels/linear_prefill_blocks.h"
#include "backend/cuda/kernels/look_up_blocks.h"
#include "backend/cuda/kernels/round_activations.h"
#include "backend/cuda/library/launch_rules.h"

namespace lathe::backend::cuda {

inline bool is_of_blocks(int32_t format) {
  return format >= LATHE_CUDA_Q4_0 && format <= LATHE_CUDA_Q6_K;
}
inline bool rounds_to_integers(int32_t rounding) {
  return rounding == LATHE_CUDA_ROUND_I8 || rounding == LATHE_CUDA_ROUND_I16;
}

// Calls body(shape) with the shape of a format of blocks.
template <class Body>
int32_t with_format(int32_t format, const Body& body) {
  switch (format) {
    case LATHE_CUDA_Q4_0:
      return body(Q40Blocks());
    case LATHE_CUDA_Q4_1:
      return body(Q41Blocks());
    case LATHE_CUDA_Q5_0:
      return body(Q50Blocks());
    case LATHE_CUDA_Q5_1:
      return body(Q51Blocks());
    case LATHE_CUDA_Q8_0:
      return body(Q80Blocks());
    case LATHE_CUDA_Q4_K:
      return body(Q4KBlocks());
    case LATHE_CUDA_Q5_K:
      return body(Q5KBlocks());
    default:
      return body(Q6KBlocks());
  }
}

inline int32_t check_blocks(int32_t format, int32_t columns, const void* weights, const char* kernel,
                            LatheCudaMessage* message) {
  if (!is_of_blocks(format)) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: format %d", kernel, format);
  if (!is_aligned(weights)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: weights are not aligned to 16 bytes", kernel);
  }
  const int block = format >= LATHE_CUDA_Q4_K ? 2 * kSpanColumns : kBlockColumns;
  if (columns < 1 || columns % block != 0) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: %d columns, expected a multiple of %d", kernel, columns,
                  block);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_linear_decode_blocks(const LatheCudaLinearDecode& call, LatheCudaMessage* message) {
  constexpr const char* kName = "linear_decode_blocks";
  if (const int32_t status = check_blocks(call.format, call.columns, call.weights, kName, message)) return status;
  if (!is_aligned(call.gate)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: the gate is not aligned to 16 bytes", kName);
  }
  LatheCudaLinearDecode rest = call;  // what remains is as it is with plain weights
  rest.format = LATHE_CUDA_F32;
  if (rounds_to_integers(call.rounding)) rest.rounding = LATHE_CUDA_ROUND_NONE;
  return check_linear_decode(rest, message);
}

// Bytes that a number of activations takes in linear_decode_blocks.
inline int staged_number_bytes(int32_t rounding) {
  return rounding == LATHE_CUDA_ROUND_I8 ? 1 : rounding == LATHE_CUDA_ROUND_I16 ? 2 : 4;
}

// Tokens of a block: 4, 2 or 1; 0 where not even one fits. A token's bits do not depend on it.
inline int decode_block_tokens(const LatheCudaLinearDecode& call, uint64_t shared_per_block) {
  const uint64_t token = uint64_t(token_bytes(call.columns, staged_number_bytes(call.rounding)));
  for (int tokens = call.tokens > 2 ? 4 : call.tokens > 1 ? 2 : 1; tokens > 0; tokens /= 2) {
    constexpr uint64_t kScratch = kDecodeWarps * sizeof(float);  // of norms
    if (uint64_t(tokens) * token + uint64_t(sums_bytes(tokens)) + kScratch <= shared_per_block) return tokens;
  }
  return 0;
}

inline int32_t check_round_activations(const LatheCudaRoundActivations& call, LatheCudaMessage* message) {
  constexpr const char* kName = "round_activations";
  if (call.tokens < 0 || call.columns < 1 || !call.x || !call.out || !is_aligned(call.out)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: %d tokens, %d columns, or memory null or not aligned", kName,
                  call.tokens, call.columns);
  }
  const bool integers = rounds_to_integers(call.rounding);
  if (call.rounding < LATHE_CUDA_ROUND_F16 || call.rounding > LATHE_CUDA_ROUND_I16 ||
      integers != (call.blocks != nullptr) || (integers && call.columns % kBlockColumns != 0)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: rounding %d of %d columns with%s blocks", kName, call.rounding,
                  call.columns, call.blocks ? "" : "out");
  }
  if (call.norm < LATHE_CUDA_NORM_NONE || call.norm > LATHE_CUDA_NORM_LAYER ||
      (call.norm != LATHE_CUDA_NORM_NONE) != (call.norm_scale != nullptr) || (call.norm_bias && !call.norm_scale)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: norm %d with%s a scale", kName, call.norm,
                  call.norm_scale ? "" : "out");
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_linear_prefill_blocks(const LatheCudaLinearPrefillBlocks& call, LatheCudaMessage* message) {
  constexpr const char* kName = "linear_prefill_blocks";
  if (const int32_t status = check_product(call, kName, message)) return status;
  if (const int32_t status = check_blocks(call.format, call.columns, call.weights, kName, message)) return status;
  if (gates(call.function)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: function %d has a gate", kName, call.function);
  }
  if (call.rounding < LATHE_CUDA_ROUND_F16 || call.rounding > LATHE_CUDA_ROUND_I16 ||
      rounds_to_integers(call.rounding) != (call.x_blocks != nullptr)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: rounding %d with%s blocks of x", kName, call.rounding,
                  call.x_blocks ? "" : "out");
  }
  if (!is_aligned(call.x) || !is_aligned(call.x_blocks)) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: x is not aligned to 16 bytes", kName);
  }
  if ((int64_t(call.tokens) + kTileTokens - 1) / kTileTokens > kMostBlocksY) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "%s: %d tokens, expected %d at the most", kName, call.tokens,
                  kMostBlocksY * kTileTokens);
  }
  return LATHE_CUDA_OK;
}

inline int32_t check_look_up_blocks(const LatheCudaLookUpBlocks& call, LatheCudaMessage* message) {
  if (call.count < 0 || !call.rows || !call.table || !call.y) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "look_up_blocks: %d rows, or null", call.count);
  }
  return check_blocks(call.format, call.columns, call.table, "look_up_blocks", message);
}

}  // namespace lathe::backend::cuda
