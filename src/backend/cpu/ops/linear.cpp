// lathe.Linear on packed weights.
#include "backend/cpu/linear.h"
#include "backend/bound.h"
#include "backend/cpu/layout_names.h"
#include "backend/cpu/linear_activation.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

// Inputs of lathe.Linear, see op/lathe_linear.cpp.
constexpr size_t kX = 0, kResidual = 1, kNormScale = 2, kNormBias = 3, kWeights = 4;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  const op::Attributes& attributes = instruction.attributes;
  if (!buffer_of(plan, operand_of(instruction, kX))) return "x that is no buffer";
  if (operand_of(instruction, kResidual) && !buffer_of(plan, operand_of(instruction, kResidual))) {
    return "a residual that is no buffer";
  }
  if (!cpu::find_activation(attributes.get_string("activation", "none"))) return "activation not known";
  const auto compute = attributes.get_string("compute", "f32");
  const int64_t parts = attributes.get_int("parts", 1);
  for (int64_t part = 0; part < parts; ++part) {
    const plan::Constant* weight = constant_of(plan, instruction, kWeights + size_t(part));
    if (!weight) return "a weight that is no constant";
    const auto layout = cpu::find_layout(weight->layout);
    if (!layout) return fmt::format("weights in layout {}", weight->layout);
    const auto rounding = cpu::find_compute(compute);
    if (!rounding) return fmt::format("compute {}", compute);
    if (const auto why = cpu::linear_refusal(*layout, *rounding, weight->dims[1])) return std::string(*why);
    const size_t bias = kWeights + size_t(parts + part);
    if (operand_of(instruction, bias) && !is_plain_f32(plan, instruction, bias))
      return "a bias that is no f32 constant";
  }
  for (const size_t norm : {kNormScale, kNormBias}) {
    if (operand_of(instruction, norm) && !is_plain_f32(plan, instruction, norm))
      return "a norm that is no f32 constant";
  }
  return std::nullopt;
}

size_t scratch_size(const Plan& plan, const Instruction& instruction, const Settings&, const Capacity& capacity) {
  const plan::Constant* weight = constant_of(plan, instruction, kWeights);
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
    const plan::Constant& weight = *constant_of(*bound.plan, *bound.instruction, kWeights + part);
    const cpu::Layout layout = *cpu::find_layout(weight.layout);
    prepared->parts.push_back({.weights = bound.inputs[kWeights + part],
                               .layout = layout,
                               .rows = weight.dims[0],
                               .bias = input_data<float>(bound, kWeights + parts + part)});
    call.columns = weight.dims[1];
  }
  call.compute = compute_for(bound);
  call.x = input_data<float>(bound, kX);
  call.residual = input_data<float>(bound, kResidual);
  call.norm = cpu::norm_of(attributes.get_string("norm", "none"));
  call.norm_scale = input_data<float>(bound, kNormScale);
  call.norm_bias = input_data<float>(bound, kNormBias);
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
