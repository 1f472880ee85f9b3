// RMSNormalization over the last axis.
#include "backend/bound.h"
#include "backend/cpu/elementwise.h"
#include "backend/refusals.h"

namespace lathe::backend {
namespace {

void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  const auto [begin, end] = member.share(step.rows(out.rows));
  const auto epsilon = float(bound.instruction->attributes.get_float("epsilon", 1e-5));
  cpu::elementwise_kernels(cpu::Isa(bound.settings.isa))
      .rms_norm(input_data<float>(bound, 0) + begin * out.columns, end - begin, out.columns,
                input_data<float>(bound, 1), epsilon, output_data<float>(bound) + begin * out.columns);
}

}  // namespace

const Kernel& rms_normalization_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.rms_norm",
                                     .op = "RMSNormalization",
                                     .refusal = refuse_rms_normalization,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
