// lathe.RotaryTable for fixed frequencies.
#include <algorithm>
#include <array>

#include "backend/bound.h"
#include "backend/cpu/elementwise.h"
#include "backend/refusals.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (instruction.attributes.has("dynamic_factor")) return "frequencies that depend on the length";
  return refuse_rotary_operands(plan, instruction);
}

void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const cpu::ElementwiseKernels& kernels = cpu::elementwise_kernels(cpu::Isa(bound.settings.isa));
  const int64_t* positions = input_data<int64_t>(bound, 0);
  const int64_t half = constant_of(*bound.plan, *bound.instruction, 1)->dims[0];
  const auto scale = float(bound.instruction->attributes.get_float("scale", 1));
  const auto [begin, end] = member.share(step.tokens);
  std::array<int32_t, 64> narrow;
  for (int64_t at = begin; at < end; at += int64_t(narrow.size())) {
    const int64_t count = std::min<int64_t>(end - at, int64_t(narrow.size()));
    for (int64_t i = 0; i < count; ++i) narrow[size_t(i)] = int32_t(positions[at + i]);
    kernels.rotary_table(narrow.data(), count, input_data<float>(bound, 1), half, scale,
                         output_data<float>(bound, 0) + at * half, output_data<float>(bound, 1) + at * half);
  }
}

}  // namespace

const Kernel& rotary_table_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.rotary_table",
                                     .op = "lathe.RotaryTable",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
