// A GPU behind the library's table of functions: what sessions allocate from and kernels launch to.
#pragma once

#include "backend/accelerator.h"
#include "backend/cuda/abi.h"
#include "backend/kernel.h"
#include "base/error.h"

namespace lathe::backend::cuda {

// Of a status that is not LATHE_CUDA_OK.
Error error_of(int32_t status, const LatheCudaMessage& message);

class CudaStream final : public Stream {
 public:
  CudaStream(const LatheCudaApi& api, int device);
  ~CudaStream() override;
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  const LatheCudaApi& api() const { return api_; }
  LatheCudaStream* handle() const { return stream_; }
  void copy_in(std::byte* to, const std::byte* host, size_t bytes) override;
  void copy_out(std::byte* host, const std::byte* from, size_t bytes) override;
  void wait() override;
  void drain() noexcept override;

 private:
  const LatheCudaApi& api_;
  LatheCudaStream* stream_ = nullptr;
};

// Keeps the failure of a launch as the step's, with the instruction's name.
void keep_failure(const Bound& bound, int32_t status, const LatheCudaMessage& message) noexcept;

// Of a kernel's run(): the call goes to the session's stream, unless the step has failed already.
template <class Call>
void launch(const Bound& bound, int32_t (*LatheCudaApi::*entry)(LatheCudaStream*, const Call*, LatheCudaMessage*),
            const Call& call) noexcept {
  if (*bound.failure) return;
  const auto& stream = static_cast<const CudaStream&>(*bound.device.stream);
  LatheCudaMessage message;
  message.text[0] = 0;
  const int32_t status = (stream.api().*entry)(stream.handle(), &call, &message);
  if (status != LATHE_CUDA_OK) keep_failure(bound, status, message);
}

// Throws as check_gpu.
std::shared_ptr<Accelerator> open_gpu(int index, const GpuPlaces& places);

}  // namespace lathe::backend::cuda
