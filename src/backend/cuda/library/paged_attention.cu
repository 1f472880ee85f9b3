// Launches of the three kernels of attention over a paged cache.
#include "backend/cuda/kernels/paged_attention.h"

#include "backend/cuda/library/launch_rules.h"
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

// Query heads of a KV head are taken four at a time, or one where each has keys of its own.
template <class Format, int kLanes>
void attend(const PagedAttention<Format>& call, const dim3& grid, cudaStream_t stream) {
  if (call.heads == call.kv_heads) {
    attend_part<Format, kLanes, 1><<<grid, kAttendThreads, 0, stream>>>(call);
  } else {
    attend_part<Format, kLanes, 4><<<grid, kAttendThreads, 0, stream>>>(call);
  }
}

template <class Format>
int32_t launch(const LatheCudaStream& stream, const LatheCudaPagedAttention& call, LatheCudaMessage* message) {
  const PagedAttention<Format> arguments = arguments_of<Format>(call);
  append_kv<Format><<<unsigned(call.tokens), kAppendThreads, 0, stream.stream>>>(arguments);
  if (const int32_t status = launched("append_kv", message)) return status;
  const dim3 grid(unsigned(call.part_count), unsigned(call.kv_heads), unsigned(call.tokens));
  switch (attention_lanes(call.head_dim)) {
    case 8:
      attend<Format, 8>(arguments, grid, stream.stream);
      break;
    case 16:
      attend<Format, 16>(arguments, grid, stream.stream);
      break;
    default:
      attend<Format, 32>(arguments, grid, stream.stream);
      break;
  }
  if (const int32_t status = launched("attend_part", message)) return status;
  const dim3 heads(unsigned(call.heads), unsigned(call.tokens));
  merge_parts<Format><<<heads, kMergeThreads, 0, stream.stream>>>(arguments);
  return launched("merge_parts", message);
}

}  // namespace

int32_t launch_paged_attention(LatheCudaStream* stream, const LatheCudaPagedAttention* call,
                               LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "paged_attention: null");
  if (const int32_t status = check_paged_attention(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  const cudaError_t error = cudaSetDevice(stream->device);
  if (error != cudaSuccess) return status_of(error, "paged_attention: cudaSetDevice", message);
  switch (call->format) {
    case LATHE_CUDA_F32:
      return launch<F32Format>(*stream, *call, message);
    case LATHE_CUDA_F16:
      return launch<F16Format>(*stream, *call, message);
    default:
      return launch<Bf16Format>(*stream, *call, message);
  }
}

}  // namespace lathe::backend::cuda
