// Mul of two buffers of one shape.
#include "backend/cuda/host/combine.h"

namespace lathe::backend::cuda {

const Kernel& mul_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.mul",
                                     .op = "Mul",
                                     .refusal = refuse_unequal_buffers,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run_combine<LATHE_CUDA_MULTIPLY>};
  return kKernel;
}

}  // namespace lathe::backend::cuda
