// RMSNormalization over the last axis.
#include "backend/bound.h"
#include "backend/cpu/elementwise.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer* x = buffer_of(plan, operand_of(instruction, 0));
  if (!x || x->dtype != tensor::DType::f32 || x->columns == 0) return "x that is no f32 buffer of rows";
  if (instruction.attributes.get_int("axis", -1) != -1) return "another axis than the last";
  if (!is_plain_f32(plan, instruction, 1)) return "a scale that is no f32 constant";
  const plan::Constant& scale = *constant_of(plan, instruction, 1);
  if (scale.dims != tensor::Dims{x->columns}) return "a scale that is not one number per column";
  return std::nullopt;
}

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
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
