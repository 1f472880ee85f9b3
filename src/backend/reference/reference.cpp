// The operator's own evaluate as a kernel: slow, for operators that no other kernel takes. It makes tensors
// as it goes, so it allocates in the step, alone among the kernels.
#include <algorithm>

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
    // Bytes of a file; those above 1 are no booleans.
    if (constant && constant->dtype == tensor::DType::boolean) return "a constant of booleans";
    const plan::Buffer* buffer = buffer_of(plan, operand_of(instruction, i));
    if (buffer && buffer->name == plan::kBlockTable) return "the cache's block table";
  }
  for (const Operand& output : instruction.outputs) {
    if (output.kind == OperandKind::state) return "an operator with state";
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
  const auto results =
      op::evaluate(op::get_op(instruction.op), std::move(inputs), instruction.attributes, instruction.outputs.size());
  for (size_t i = 0; i < results.size(); ++i) {
    if (!bound.outputs[i]) continue;
    const Tensor place = view(bound, step, instruction.outputs[i], bound.outputs[i]);
    const auto bytes = results[i].bytes();
    if (bytes.size() != place.bytes().size()) {
      fail(ErrorCode::invalid_input, "output {}: expected {} bytes, found {}", i, place.bytes().size(), bytes.size());
    }
    std::copy(bytes.begin(), bytes.end(), bound.outputs[i]);
  }
}

// A step cannot throw, so the first failure is kept for its end. What follows in the step then computes from
// stale buffers; nobody sees the result.
void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  if (member.index() != 0 || *bound.failure) return;
  try {
    with_context(fmt::format("{} \"{}\"", bound.instruction->op, bound.instruction->name),
                 [&] { evaluate(bound, step); });
  } catch (...) {
    *bound.failure = std::current_exception();
  }
}

}  // namespace

const Kernel& reference_kernel() {
  static constexpr Kernel kKernel = {
      .name = "reference", .op = "", .refusal = refusal, .scratch_size = nullptr, .prepare = nullptr, .run = run};
  return kKernel;
}

}  // namespace lathe::backend
