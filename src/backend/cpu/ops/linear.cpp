// lathe.Linear on packed weights.
#include "backend/cpu/linear.h"
#include "backend/bound.h"
#include "backend/cpu/layout_names.h"
#include "backend/cpu/linear_activation.h"
#include "backend/refusals.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (auto reason = refuse_linear_operands(plan, instruction)) return reason;
  const op::Attributes& attributes = instruction.attributes;
  if (!cpu::find_activation(attributes.get_string("activation", "none"))) return "activation not known";
  const auto compute = attributes.get_string("compute", "f32");
  const int64_t parts = attributes.get_int("parts", 1);
  for (int64_t part = 0; part < parts; ++part) {
    const plan::Constant* weight = constant_of(plan, instruction, kLinearWeights + size_t(part));
    const auto layout = cpu::find_layout(weight->layout);
    if (!layout) return fmt::format("weights in layout {}", weight->layout);
    const auto rounding = cpu::find_compute(compute);
    if (!rounding) return fmt::format("compute {}", compute);
    if (const auto why = cpu::linear_refusal(*layout, *rounding, weight->dims[1])) return std::string(*why);
  }
  return std::nullopt;
}

size_t scratch_size(const Plan& plan, const Instruction& instruction, const Settings&, const Capacity& capacity) {
  const plan::Constant* weight = constant_of(plan, instruction, kLinearWeights);
  const int64_t rows = capacity.rows(output_buffer(plan, instruction).rows);
  return cpu::linear_scratch_size(rows, weight->dims[1], capacity.threads);
}

struct Prepared {
  cpu::LinearCall call;
  std::vector<cpu::LinearPart> parts;
  cpu::LinearKernel kernel;
  plan::Rows rows;
};

// The rounding the instruction asks for, unless the session forbids all rounding.
cpu::Compute compute_for(const Bound& bound) {
  if (bound.settings.exact) return cpu::Compute::f32;
  return *cpu::find_compute(bound.instruction->attributes.get_string("compute", "f32"));
}

void prepare(Bound& bound) {
  const op::Attributes& attributes = bound.instruction->attributes;
  auto prepared = std::make_shared<Prepared>();
  const auto parts = size_t(attributes.get_int("parts", 1));
  cpu::LinearCall& call = prepared->call;
  for (size_t part = 0; part < parts; ++part) {
    const plan::Constant& weight = *constant_of(*bound.plan, *bound.instruction, kLinearWeights + part);
    const cpu::Layout layout = *cpu::find_layout(weight.layout);
    prepared->parts.push_back({.weights = bound.inputs[kLinearWeights + part],
                               .layout = layout,
                               .rows = weight.dims[0],
                               .bias = input_data<float>(bound, kLinearWeights + parts + part)});
    call.columns = weight.dims[1];
  }
  call.compute = compute_for(bound);
  call.x = input_data<float>(bound, kLinearX);
  call.residual = input_data<float>(bound, kLinearResidual);
  call.norm = cpu::norm_of(attributes.get_string("norm", "none"));
  call.norm_scale = input_data<float>(bound, kLinearNormScale);
  call.norm_bias = input_data<float>(bound, kLinearNormBias);
  call.epsilon = float(attributes.get_float("epsilon", 0));
  call.activation = *cpu::find_activation(attributes.get_string("activation", "none"));
  call.parts = prepared->parts;
  call.y = output_data<float>(bound);
  call.scratch = bound.scratch;
  prepared->kernel = cpu::linear_kernel(cpu::Isa(bound.settings.isa));
  prepared->rows = output_buffer(*bound.plan, *bound.instruction).rows;
  bound.prepared = std::move(prepared);
}

void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const auto& prepared = *static_cast<const Prepared*>(bound.prepared.get());
  cpu::LinearCall call = prepared.call;
  call.tokens = step.rows(prepared.rows);
  if (call.tokens > 0) prepared.kernel(call, member);
}

}  // namespace

const Kernel& linear_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.linear",
                                     .op = "lathe.Linear",
                                     .refusal = refusal,
                                     .scratch_size = scratch_size,
                                     .prepare = prepare,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
