// What the files of liblathe_cuda.so share. nvcc compiles them for the library, and g++ for that of the tests, whose
// launches go to the emulated device (emulation/quick).
#pragma once

#include "backend/cuda/abi.h"
#include "backend/cuda/kernel.h"
#include "backend/cuda/library/launch_rules.h"
#include "backend/cuda/library/message.h"

#if defined(__CUDACC__)
#include <cuda_runtime_api.h>

struct LatheCudaStream {
  int device;
  cudaStream_t stream;
  uint64_t shared_per_block;
};

namespace lathe::backend::cuda {

// The status of CUDA's error, and a message with its name; forgets it, unless it is one that CUDA does not forget.
int32_t status_of(cudaError_t error, const char* what, LatheCudaMessage* message) noexcept;

// One kernel on the stream. A failure of earlier work may show here too.
template <class Call>
int32_t launch(const char* name, void (*kernel)(Call), const dim3& grid, int threads, size_t shared,
               const LatheCudaStream& stream, const Call& call, LatheCudaMessage* message) noexcept {
  cudaError_t error = cudaSetDevice(stream.device);
  if (error != cudaSuccess) return status_of(error, name, message);
  if (shared > kSharedWithoutAsking - kMostStaticShared) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
    if (error != cudaSuccess) return status_of(error, name, message);
  }
  kernel<<<grid, unsigned(threads), shared, stream.stream>>>(call);
  error = cudaGetLastError();
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, name, message);
}

}  // namespace lathe::backend::cuda

#else
#include "backend/cuda/emulation/quick/stream.h"
#endif

namespace lathe::backend::cuda {

int32_t run_self_test(int32_t device, LatheCudaMessage* message) noexcept;
int32_t launch_linear_decode(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                             LatheCudaMessage* message) noexcept;
int32_t launch_linear_prefill(LatheCudaStream* stream, const LatheCudaLinearPrefill* call,
                              LatheCudaMessage* message) noexcept;
int32_t launch_paged_attention(LatheCudaStream* stream, const LatheCudaPagedAttention* call,
                               LatheCudaMessage* message) noexcept;
int32_t launch_normalise(LatheCudaStream* stream, const LatheCudaNormalise* call, LatheCudaMessage* message) noexcept;
int32_t launch_combine(LatheCudaStream* stream, const LatheCudaCombine* call, LatheCudaMessage* message) noexcept;
int32_t launch_place_columns(LatheCudaStream* stream, const LatheCudaPlaceColumns* call,
                             LatheCudaMessage* message) noexcept;
int32_t launch_look_up(LatheCudaStream* stream, const LatheCudaLookUp* call, LatheCudaMessage* message) noexcept;
int32_t launch_rotary_table(LatheCudaStream* stream, const LatheCudaRotaryTable* call,
                            LatheCudaMessage* message) noexcept;
int32_t launch_linear_decode_blocks(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                                    LatheCudaMessage* message) noexcept;
int32_t launch_round_activations(LatheCudaStream* stream, const LatheCudaRoundActivations* call,
                                 LatheCudaMessage* message) noexcept;
int32_t launch_linear_prefill_blocks(LatheCudaStream* stream, const LatheCudaLinearPrefillBlocks* call,
                                     LatheCudaMessage* message) noexcept;
int32_t launch_look_up_blocks(LatheCudaStream* stream, const LatheCudaLookUpBlocks* call,
                              LatheCudaMessage* message) noexcept;
int32_t launch_sample(LatheCudaStream* stream, const LatheCudaSample* call, LatheCudaMessage* message) noexcept;

}  // namespace lathe::backend::cuda
