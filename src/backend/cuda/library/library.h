// What the files of liblathe_cuda.so share.
#pragma once

#include <cuda_runtime_api.h>

#include "backend/cuda/abi.h"
#include "backend/cuda/library/message.h"

struct LatheCudaStream {
  int device;
  cudaStream_t stream;
  uint64_t shared_per_block;
};

namespace lathe::backend::cuda {

// The status of CUDA's error, and a message with its name; forgets it, unless it is one that CUDA does not forget.
int32_t status_of(cudaError_t error, const char* what, LatheCudaMessage* message) noexcept;

// Of a launch that has just been made. A failure of earlier work may show here too.
inline int32_t launched(const char* kernel, LatheCudaMessage* message) noexcept {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? int32_t(LATHE_CUDA_OK) : status_of(error, kernel, message);
}

int32_t run_self_test(int32_t device, LatheCudaMessage* message) noexcept;
int32_t launch_linear_decode(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                             LatheCudaMessage* message) noexcept;
int32_t launch_linear_prefill(LatheCudaStream* stream, const LatheCudaLinearPrefill* call,
                              LatheCudaMessage* message) noexcept;
int32_t launch_paged_attention(LatheCudaStream* stream, const LatheCudaPagedAttention* call,
                               LatheCudaMessage* message) noexcept;

}  // namespace lathe::backend::cuda
