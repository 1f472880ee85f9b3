#include "base/error.h"
#include "plan/attribute_text.h"
#include "plan/graph_body.h"

namespace lathe::plan {
namespace {

std::string operand_text(const GraphPlan& plan, const Operand& operand) {
  const auto name = [&](const auto& items) {
    const bool known = operand.index >= 0 && uint64_t(operand.index) < items.size();
    return known ? items[size_t(operand.index)].name : fmt::format("?{}", operand.index);
  };
  if (operand.kind == OperandKind::absent) return "_";
  return operand.kind == OperandKind::constant ? "@" + name(plan.constants) : "%" + name(plan.values);
}

std::string operands_text(const GraphPlan& plan, const std::vector<Operand>& operands) {
  std::vector<std::string> texts;
  for (const Operand& operand : operands) texts.push_back(operand_text(plan, operand));
  return fmt::format("{}", fmt::join(texts, ", "));
}

std::string results_text(const GraphPlan& plan, const Instruction& instruction) {
  std::vector<std::string> texts;
  for (const Operand& output : instruction.outputs) {
    const bool value =
        output.kind == OperandKind::buffer && output.index >= 0 && uint64_t(output.index) < plan.values.size();
    texts.push_back(operand_text(plan, output) +
                    (value ? ": " + op::to_string(plan.values[size_t(output.index)].type) : ""));
  }
  return fmt::format("{}", fmt::join(texts, ", "));
}

void print(const GraphModel& model, const std::string& indent, std::string& text) {
  const GraphPlan& plan = model.plan;
  for (const int64_t input : plan.inputs) {
    const GraphValue& value = plan.values.at(size_t(input));
    text += fmt::format("{}input %{}: {}\n", indent, value.name, op::to_string(value.type));
  }
  for (const Constant& constant : plan.constants) {
    text += fmt::format("{}constant @{}: {}{} {}\n", indent, constant.name, tensor::to_string(constant.dtype),
                        tensor::to_string(std::span(constant.dims)), constant.layout);
  }
  for (const Instruction& instruction : plan.instructions) {
    text += fmt::format("{}{} = {}({})", indent, results_text(plan, instruction), instruction.op,
                        operands_text(plan, instruction.inputs));
    std::vector<std::string> attributes;
    for (const auto& [name, value] : instruction.attributes) {
      attributes.push_back(fmt::format("{} = {}", name, attribute_text(value)));
    }
    if (!attributes.empty()) text += fmt::format(" {{{}}}", fmt::join(attributes, ", "));
    text += fmt::format(" {}\n", quoted(instruction.name));
    for (const auto& [name, value] : instruction.attributes) {
      const GraphBody* body = find_body(value);
      if (!body) continue;
      text += fmt::format("{}  {}:\n", indent, name);
      print(*body->model(), indent + "    ", text);
    }
  }
  for (const GraphOutput& output : plan.outputs) {
    text += fmt::format("{}output {} {}\n", indent, quoted(output.name), operand_text(plan, output.operand));
  }
}

}  // namespace

std::string print(const GraphModel& model) {
  std::string text = fmt::format("graph plan {}\n", model.plan.device);
  print(model, "", text);
  return text;
}

}  // namespace lathe::plan
