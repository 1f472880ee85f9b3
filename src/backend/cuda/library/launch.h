// One kernel on a stream, from any file of liblathe_cuda.so.
#pragma once

#include "backend/cuda/library/launch_rules.h"
#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {

// A failure of earlier work may show here too.
template <class Call>
int32_t launch_kernel(const char* name, void (*kernel)(Call), const dim3& grid, int threads, size_t shared,
                      const LatheCudaStream& stream, const Call& call, LatheCudaMessage* message) noexcept {
  cudaError_t error = cudaSetDevice(stream.device);
  if (error != cudaSuccess) return status_of(error, name, message);
  constexpr size_t kMostStatic = 1 << 10;  // shared memory of a kernel that has dynamic memory too
  if (shared > kSharedWithoutAsking - kMostStatic) {
    error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(shared));
    if (error != cudaSuccess) return status_of(error, name, message);
  }
  kernel<<<grid, unsigned(threads), shared, stream.stream>>>(call);
  return launched(name, message);
}

}  // namespace lathe::backend::cuda
