// The self test of a device: memory, a launch, a copy back, and a comparison.
#include "backend/cuda/kernels/self_test.h"

#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

constexpr int kCount = 1000;  // seven blocks and a part of one

int32_t launch_and_compare(uint32_t* memory, LatheCudaMessage* message) noexcept {
  uint32_t found[kCount];
  cudaError_t error = cudaMemset(memory, 0xff, sizeof found);
  if (error != cudaSuccess) return status_of(error, "self test: cudaMemset", message);
  const SelfTest call{memory, kCount};
  self_test<<<(kCount + kSelfTestThreads - 1) / kSelfTestThreads, kSelfTestThreads>>>(call);
  error = cudaGetLastError();
  if (error != cudaSuccess) return status_of(error, "self test: launch", message);
  error = cudaMemcpy(found, memory, sizeof found, cudaMemcpyDeviceToHost);  // waits for the kernel
  if (error != cudaSuccess) return status_of(error, "self test: cudaMemcpy", message);
  for (int i = 0; i < kCount; ++i) {
    if (found[i] != self_test_value(i)) {
      return refuse(message, LATHE_CUDA_WRONG_RESULT, "self test: element %d: expected %u, found %u", i,
                    self_test_value(i), found[i]);
    }
  }
  return LATHE_CUDA_OK;
}

}  // namespace

int32_t run_self_test(int32_t device, LatheCudaMessage* message) noexcept {
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) return status_of(error, "self test: cudaSetDevice", message);
  void* memory = nullptr;
  error = cudaMalloc(&memory, kCount * sizeof(uint32_t));
  if (error != cudaSuccess) return status_of(error, "self test: cudaMalloc", message);
  const int32_t status = launch_and_compare(static_cast<uint32_t*>(memory), message);
  error = cudaFree(memory);
  if (status == LATHE_CUDA_OK && error != cudaSuccess) return status_of(error, "self test: cudaFree", message);
  return status;
}

}  // namespace lathe::backend::cuda
