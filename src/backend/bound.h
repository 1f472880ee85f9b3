// Reading the operands of a bound instruction.
#pragma once

#include "backend/kernel.h"
#include "base/error.h"

namespace lathe::backend {

inline const plan::Operand* operand_of(const plan::Instruction& instruction, size_t input) {
  if (input >= instruction.inputs.size()) return nullptr;
  const plan::Operand& operand = instruction.inputs[input];
  return operand.kind == plan::OperandKind::absent ? nullptr : &operand;
}

// The constant behind an input, or nullptr when it is something else.
inline const plan::Constant* constant_of(const plan::Plan& plan, const plan::Instruction& instruction, size_t input) {
  const plan::Operand* operand = operand_of(instruction, input);
  if (!operand || operand->kind != plan::OperandKind::constant) return nullptr;
  return &plan.constants[size_t(operand->index)];
}

// The buffer behind an input or output, or nullptr.
inline const plan::Buffer* buffer_of(const plan::Plan& plan, const plan::Operand* operand) {
  if (!operand || operand->kind != plan::OperandKind::buffer) return nullptr;
  return &plan.buffers[size_t(operand->index)];
}
inline const plan::Buffer& output_buffer(const plan::Plan& plan, const plan::Instruction& instruction) {
  const plan::Buffer* buffer = buffer_of(plan, &instruction.outputs.at(0));
  LATHE_CHECK(buffer != nullptr, "{} writes no buffer", instruction.name);
  return *buffer;
}

template <class T>
const T* input_data(const Bound& bound, size_t i) {
  return i < bound.inputs.size() ? reinterpret_cast<const T*>(bound.inputs[i]) : nullptr;
}
template <class T>
T* output_data(const Bound& bound, size_t i = 0) {
  return reinterpret_cast<T*>(bound.outputs[i]);
}

// True when an input is a plain f32 constant (norm scales, biases).
inline bool is_plain_f32(const plan::Plan& plan, const plan::Instruction& instruction, size_t input) {
  const plan::Constant* constant = constant_of(plan, instruction, input);
  return constant && constant->layout == "plain" && constant->dtype == tensor::DType::f32 &&
         constant->encoding == tensor::Encoding::plain;
}

}  // namespace lathe::backend
