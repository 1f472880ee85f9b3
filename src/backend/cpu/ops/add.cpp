// Add of two buffers of one shape.
#include "backend/cpu/elementwise_op.h"

namespace lathe::backend {

const Kernel& add_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.add",
                                     .op = "Add",
                                     .refusal = refuse_unequal_buffers,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run_binary<&cpu::ElementwiseKernels::add>};
  return kKernel;
}

}  // namespace lathe::backend
