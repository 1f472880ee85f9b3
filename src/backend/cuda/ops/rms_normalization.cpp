// RMSNormalization over the last axis.
#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/refusals.h"

namespace lathe::backend::cuda {
namespace {

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  LatheCudaNormalise call = {};
  call.x = input_data<float>(bound, 0);
  call.scale = input_data<float>(bound, 1);
  call.y = output_data<float>(bound);
  call.tokens = int32_t(step.rows(out.rows));
  call.columns = int32_t(out.columns);
  call.norm = LATHE_CUDA_NORM_RMS;
  call.rounding = LATHE_CUDA_ROUND_NONE;
  call.epsilon = float(bound.instruction->attributes.get_float("epsilon", 1e-5));
  launch(bound, &LatheCudaApi::normalise, call);
}

}  // namespace

const Kernel& rms_normalization_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.rms_norm",
                                     .op = "RMSNormalization",
                                     .refusal = refuse_rms_normalization,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
