// The operator's own evaluate as a kernel: slow, for operators that no other kernel takes.
#include <limits>

#include "backend/bound.h"
#include "op/op.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Operand;
using plan::OperandKind;
using plan::Plan;
using tensor::Tensor;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  if (!op::find_op(instruction.op)) return "operator not known";
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    if (instruction.inputs[i].kind == OperandKind::state) return "an operator with state";
    const plan::Constant* constant = constant_of(plan, instruction, i);
    if (constant && (constant->layout != "plain" || constant->encoding != tensor::Encoding::plain)) {
      return fmt::format("a constant in {}", constant->layout);
    }
  }
  return std::nullopt;
}

Tensor view(const Bound& bound, const Step& step, const Operand& operand, std::byte* data) {
  const Plan& plan = *bound.plan;
  if (operand.kind == OperandKind::absent) return {};
  if (operand.kind == OperandKind::constant) {
    const plan::Constant& constant = plan.constants[size_t(operand.index)];
    return Tensor::view(constant.dtype, constant.dims, {data, size_t(constant.bytes)}, nullptr);
  }
  const plan::Buffer& buffer = plan.buffers[size_t(operand.index)];
  tensor::Dims dims = {step.rows(buffer.rows)};
  if (buffer.columns > 0) dims.push_back(buffer.columns);
  const size_t bytes = tensor::byte_size(buffer.dtype, tensor::element_count(dims));
  return Tensor::view(buffer.dtype, std::move(dims), {data, bytes}, nullptr);
}

void evaluate(const Bound& bound, const Step& step) {
  const Instruction& instruction = *bound.instruction;
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    inputs.push_back(view(bound, step, instruction.inputs[i], bound.inputs[i]));
  }
  const auto results = op::evaluate(op::get_op(instruction.op), std::move(inputs), instruction.attributes,
                                    instruction.outputs.size());
  for (size_t i = 0; i < results.size(); ++i) {
    const auto bytes = results[i].bytes();
    if (bound.outputs[i]) std::copy(bytes.begin(), bytes.end(), bound.outputs[i]);
  }
}

// A step has no way to throw, so a failure leaves NaN, which the session's check of the logits turns into an
// error that names this tensor.
void poison(const Bound& bound, const Step& step) noexcept {
  for (size_t i = 0; i < bound.outputs.size(); ++i) {
    const plan::Buffer* buffer = buffer_of(*bound.plan, &bound.instruction->outputs[i]);
    if (!buffer || buffer->dtype != tensor::DType::f32) continue;
    auto* values = reinterpret_cast<float*>(bound.outputs[i]);
    const int64_t count = step.rows(buffer->rows) * std::max<int64_t>(buffer->columns, 1);
    std::fill(values, values + count, std::numeric_limits<float>::quiet_NaN());
  }
}

void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  if (member.index() != 0) return;
  try {
    evaluate(bound, step);
  } catch (const std::exception&) {
    poison(bound, step);
  }
}

}  // namespace

const Kernel& reference_kernel() {
  static constexpr Kernel kKernel = {.name = "reference",
                                     .op = "",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
