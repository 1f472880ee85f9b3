// Streams of the emulated library: work is done when somebody waits for it, as late as a GPU might do it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/abi.h"
#include "backend/cuda/emulation/block.h"
#include "backend/cuda/library/message.h"

struct LatheCudaStream {
  int device = 0;
  uint64_t shared_per_block = 0;
  // In order; each returns a status. Launches add to it from const references, as they do to CUDA's streams.
  mutable std::vector<std::function<int32_t(LatheCudaMessage*)>> work;
};

namespace lathe::backend::cuda {

using dim3 = emulated::Dim;

int32_t run_kernel(const char* name, const dim3& grid, int threads, size_t shared, const std::function<void()>& body,
                   LatheCudaMessage* message) noexcept;

template <class Call>
int32_t launch(const char* name, void (*kernel)(Call), const dim3& grid, int threads, size_t shared,
               const LatheCudaStream& stream, const Call& call, LatheCudaMessage* message) noexcept {
  constexpr unsigned kMostY = 65535;
  if (grid.size() == 0 || grid.y > kMostY || grid.z > kMostY || shared > stream.shared_per_block) {
    return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "%s: %u x %u x %u blocks, %zu bytes of shared memory", name, grid.x,
                  grid.y, grid.z, shared);
  }
  stream.work.push_back([=](LatheCudaMessage* why) {
    return run_kernel(
        name, grid, threads, shared, [&] { kernel(call); }, why);
  });
  return LATHE_CUDA_OK;
}

}  // namespace lathe::backend::cuda
