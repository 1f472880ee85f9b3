// Add of two buffers of one shape.
#include "backend/cuda/host/combine.h"

namespace lathe::backend::cuda {

const Kernel& add_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.add",
                                     .op = "Add",
                                     .refusal = refuse_unequal_buffers,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run_combine<LATHE_CUDA_ADD>};
  return kKernel;
}

}  // namespace lathe::backend::cuda
