#include <algorithm>

#include "base/error.h"
#include "plan/attribute_text.h"
#include "plan/plan.h"

namespace lathe::plan {
namespace {

std::string operand_text(const Plan& plan, const Operand& operand) {
  const auto name = [&](const auto& items) {
    const bool known = operand.index >= 0 && uint64_t(operand.index) < items.size();
    return known ? items[size_t(operand.index)].name : fmt::format("?{}", operand.index);
  };
  switch (operand.kind) {
    case OperandKind::absent:
      return "_";
    case OperandKind::buffer:
      return fmt::format("%{}", name(plan.buffers));
    case OperandKind::constant:
      return fmt::format("@{}", name(plan.constants));
    case OperandKind::state:
      return fmt::format("${}", name(plan.states));
  }
  LATHE_CHECK(false, "operand kind {}", int(operand.kind));
  return {};
}

std::string operands_text(const Plan& plan, const std::vector<Operand>& operands) {
  std::vector<std::string> texts;
  for (const Operand& operand : operands) texts.push_back(operand_text(plan, operand));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string line(const Buffer& buffer) {
  const std::string columns = buffer.columns > 0 ? fmt::format(", {}", buffer.columns) : "";
  const std::string place = placed_by_runtime(buffer.name) ? "input" : fmt::format("at {}", buffer.offset);
  return fmt::format("buffer %{}: {}[{}{}] {}\n", buffer.name, tensor::to_string(buffer.dtype), to_string(buffer.rows),
                     columns, place);
}

// Without the offset, which a change of any earlier constant would move.
std::string line(const Constant& constant) {
  return fmt::format("constant @{}: {}{} {} {} {} bytes\n", constant.name, tensor::to_string(constant.dtype),
                     tensor::to_string(std::span(constant.dims)), tensor::to_string(constant.encoding), constant.layout,
                     constant.bytes);
}

std::string line(const State& state) {
  return fmt::format("state ${}: {} {} x {}\n", state.name, state.kind, state.kv_heads, state.head_dim);
}

std::string line(const Plan& plan, const Instruction& instruction) {
  std::string text = fmt::format("{} = {}({})", operands_text(plan, instruction.outputs), instruction.op,
                                 operands_text(plan, instruction.inputs));
  std::vector<std::string> attributes;
  for (const auto& [name, value] : instruction.attributes) {
    attributes.push_back(fmt::format("{} = {}", name, attribute_text(value)));
  }
  if (!attributes.empty()) text += fmt::format(" {{{}}}", fmt::join(attributes, ", "));
  text += " by " + instruction.kernel;
  if (!instruction.name.empty()) text += fmt::format(" {}", quoted(instruction.name));
  return text + "\n";
}

}  // namespace

std::string print(const Plan& plan) {
  std::string text =
      fmt::format("plan {} compute {} kv {} block {}\n", plan.device, plan.compute, plan.kv, plan.kv_block);
  text += fmt::format("arena {} per token, {} per output, {} per sequence\n", plan.arena_tokens, plan.arena_outputs,
                      plan.arena_sequences);
  for (const State& state : plan.states) text += line(state);
  for (const Constant& constant : plan.constants) text += line(constant);
  for (const Buffer& buffer : plan.buffers) text += line(buffer);
  for (const Instruction& instruction : plan.instructions) text += line(plan, instruction);
  if (plan.logits >= 0) text += fmt::format("logits {}\n", operand_text(plan, {OperandKind::buffer, plan.logits}));
  return text;
}

}  // namespace lathe::plan
