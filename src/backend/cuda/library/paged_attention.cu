// Launches of the three kernels of attention over a paged cache.
#include "backend/cuda/kernels/paged_attention.h"

#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

template <class Format>
PagedAttention<Format> arguments_of(const LatheCudaPagedAttention& call) {
  PagedAttention<Format> arguments{};
  arguments.qkv = call.qkv;
  arguments.heads = call.heads;
  arguments.kv_heads = call.kv_heads;
  arguments.head_dim = call.head_dim;
  arguments.scale = call.scale;
  arguments.cos = call.cos;
  arguments.sin = call.sin;
  arguments.rotary_dim = call.rotary_dim;
  arguments.interleaved = call.interleaved;
  arguments.sequence = call.sequence;
  arguments.position = call.position;
  arguments.block_table = call.block_table;
  arguments.blocks_per_sequence = call.blocks_per_sequence;
  arguments.cache = static_cast<typename Format::Stored*>(call.cache);
  arguments.queries = call.queries;
  arguments.parts = call.parts;
  arguments.part_count = call.part_count;
  arguments.out = call.out;
  return arguments;
}

template <class Format, int kLanes, int kHeads>
int32_t attend(const LatheCudaStream& stream, const PagedAttention<Format>& call, const dim3& grid,
               LatheCudaMessage* message) {
  const auto kernel = call.head_dim % kLaneDims == 0 ? &attend_part<Format, kLanes, kHeads, true>
                                                     : &attend_part<Format, kLanes, kHeads, false>;
  return launch("attend_part", kernel, grid, kAttendThreads, 0, stream, call, message);
}

// Query heads of a KV head are taken four at a time, or one where each has keys of its own.
template <class Format, int kLanes>
int32_t attend_heads(const LatheCudaStream& stream, const PagedAttention<Format>& call, const dim3& grid,
                     LatheCudaMessage* message) {
  return call.heads == call.kv_heads ? attend<Format, kLanes, 1>(stream, call, grid, message)
                                     : attend<Format, kLanes, 4>(stream, call, grid, message);
}

template <class Format>
int32_t launch_form(const LatheCudaStream& stream, const LatheCudaPagedAttention& call, LatheCudaMessage* message) {
  const PagedAttention<Format> arguments = arguments_of<Format>(call);
  const dim3 tokens(unsigned(call.tokens));
  int32_t status = launch("append_kv", &append_kv<Format>, tokens, kAppendThreads, 0, stream, arguments, message);
  if (status != LATHE_CUDA_OK) return status;
  const dim3 grid(unsigned(call.part_count), unsigned(call.kv_heads), unsigned(call.tokens));
  switch (attention_lanes(call.head_dim)) {
    case 8:
      status = attend_heads<Format, 8>(stream, arguments, grid, message);
      break;
    case 16:
      status = attend_heads<Format, 16>(stream, arguments, grid, message);
      break;
    default:
      status = attend_heads<Format, 32>(stream, arguments, grid, message);
      break;
  }
  if (status != LATHE_CUDA_OK) return status;
  const dim3 heads(unsigned(call.heads), unsigned(call.tokens));
  return launch("merge_parts", &merge_parts<Format>, heads, kMergeThreads, 0, stream, arguments, message);
}

}  // namespace

int32_t launch_paged_attention(LatheCudaStream* stream, const LatheCudaPagedAttention* call,
                               LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "paged_attention: null");
  if (const int32_t status = check_paged_attention(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  switch (call->format) {
    case LATHE_CUDA_F32:
      return launch_form<F32Format>(*stream, *call, message);
    case LATHE_CUDA_F16:
      return launch_form<F16Format>(*stream, *call, message);
    default:
      return launch_form<Bf16Format>(*stream, *call, message);
  }
}

}  // namespace lathe::backend::cuda
