// Gather of whole f32 rows by an index per row: the tokens whose logits are wanted.
#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/refusals.h"

namespace lathe::backend::cuda {
namespace {

// Indices are the session's own.
void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  LatheCudaLookUp call = {};
  call.rows = input_data<int64_t>(bound, 1);
  call.table = bound.inputs[0];
  call.y = output_data<float>(bound);
  call.count = int32_t(step.rows(out.rows));
  call.columns = int32_t(out.columns);
  call.format = LATHE_CUDA_F32;
  launch(bound, &LatheCudaApi::look_up, call);
}

}  // namespace

const Kernel& gather_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.gather_rows",
                                     .op = "Gather",
                                     .refusal = refuse_gather,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
