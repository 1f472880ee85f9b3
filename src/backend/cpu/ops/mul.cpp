// Mul of two buffers of one shape.
#include "backend/cpu/elementwise_op.h"

namespace lathe::backend {

const Kernel& mul_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.mul",
                                     .op = "Mul",
                                     .refusal = refuse_unequal_buffers,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run_binary<&cpu::ElementwiseKernels::mul>};
  return kKernel;
}

}  // namespace lathe::backend
