#include "plan/liveness.h"

#include <algorithm>

namespace lathe::plan {
namespace {

bool same_shape(const Buffer& a, const Buffer& b) {
  return a.dtype == b.dtype && a.columns == b.columns && a.rows == b.rows;
}

int64_t uses(const Instruction& instruction, const Operand& operand) {
  return std::count(instruction.inputs.begin(), instruction.inputs.end(), operand);
}

// Whether a kernel of `instruction` may write its first output where input `i` lies: it must read no element
// of that input after it has written the element's place.
bool may_replace(const Plan& plan, const Instruction& instruction, size_t i) {
  const auto as_output = [&](const Operand& operand) {
    return operand.kind == OperandKind::buffer &&
           same_shape(plan.buffers[size_t(operand.index)], plan.buffers[size_t(instruction.outputs[0].index)]);
  };
  if (!as_output(instruction.inputs[i])) return false;
  // The residual is read element by element, but x as a whole: they must be different buffers.
  if (instruction.op == "lathe.Linear") return i == 1 && uses(instruction, instruction.inputs[1]) == 1;
  if (instruction.op != "Add" && instruction.op != "Mul") return false;
  return std::all_of(instruction.inputs.begin(), instruction.inputs.end(), as_output);
}

// The input whose place output 0 of instruction `at` may take, or -1.
int64_t dying_input(const Plan& plan, const std::vector<Lifetime>& lives, int64_t at) {
  const Instruction& instruction = plan.instructions[size_t(at)];
  if (instruction.outputs.empty() || instruction.outputs[0].kind != OperandKind::buffer) return -1;
  for (size_t i = 0; i < instruction.inputs.size(); ++i) {
    if (!may_replace(plan, instruction, i)) continue;
    const int64_t index = instruction.inputs[i].index;
    if (lives[size_t(index)].end == at && !placed_by_runtime(plan.buffers[size_t(index)].name)) return index;
  }
  return -1;
}

}  // namespace

std::vector<Lifetime> lifetimes(const Plan& plan) {
  std::vector<Lifetime> lives(plan.buffers.size());
  const int64_t count = int64_t(plan.instructions.size());
  for (int64_t i = 0; i < count; ++i) {
    const Instruction& instruction = plan.instructions[size_t(i)];
    for (const Operand& input : instruction.inputs) {
      if (input.kind == OperandKind::buffer) lives[size_t(input.index)].end = i;
    }
    for (const Operand& output : instruction.outputs) {
      if (output.kind != OperandKind::buffer) continue;
      Lifetime& life = lives[size_t(output.index)];
      life.begin = i;
      life.end = std::max(life.end, i);
    }
  }
  if (plan.logits >= 0) lives[size_t(plan.logits)].end = count;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t input = dying_input(plan, lives, i);
    if (input >= 0) lives[size_t(plan.instructions[size_t(i)].outputs[0].index)].in_place_of = input;
  }
  return lives;
}

}  // namespace lathe::plan
