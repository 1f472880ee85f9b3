// lathe.RotaryTable for fixed frequencies, and for those that depend on the longest sequence of the step.
#include <algorithm>
#include <cmath>

#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/refusals.h"

namespace lathe::backend::cuda {
namespace {

// The base of dynamic NTK scaling, see op/lathe_rotary_table.cpp. `longest`: positions.
double dynamic_base(const op::Attributes& attributes, int64_t longest, int64_t half) {
  const double factor = attributes.get_float("dynamic_factor", 1), trained = attributes.get_float("trained_length", 1);
  const double length = std::max(double(longest), trained), dims = double(2 * half);
  return attributes.get_float("theta", 10000) * std::pow(factor * length / trained - (factor - 1), dims / (dims - 2));
}

std::optional<std::string> refusal(const plan::Plan& plan, const plan::Instruction& instruction) {
  if (auto reason = refuse_rotary_operands(plan, instruction)) return reason;
  if (!instruction.attributes.has("dynamic_factor")) return std::nullopt;
  // A base that is none would be taken for fixed frequencies.
  const int64_t half = constant_of(plan, instruction, 1)->dims[0];
  const double base = dynamic_base(instruction.attributes, 0, half);
  if (!(base > 0) || !std::isfinite(base)) return fmt::format("frequencies of base {}", base);
  return std::nullopt;
}

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const op::Attributes& attributes = bound.instruction->attributes;
  LatheCudaRotaryTable call = {};
  call.positions = input_data<int64_t>(bound, 0);
  call.cos = output_data<float>(bound, 0);
  call.sin = output_data<float>(bound, 1);
  call.tokens = int32_t(step.tokens);
  call.half = int32_t(constant_of(*bound.plan, *bound.instruction, 1)->dims[0]);
  call.scale = float(attributes.get_float("scale", 1));
  if (attributes.has("dynamic_factor"))
    call.base = dynamic_base(attributes, step.longest, call.half);
  else
    call.frequencies = input_data<float>(bound, 1);
  launch(bound, &LatheCudaApi::rotary_table, call);
}

}  // namespace

const Kernel& rotary_table_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.rotary_table",
                                     .op = "lathe.RotaryTable",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
