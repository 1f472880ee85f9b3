// Whether the operands of each instruction have the types and sizes that its operator says.
#include <array>

#include "base/error.h"
#include "op/op.h"
#include "plan/plan.h"

namespace lathe::plan {
namespace {

using op::TypeInfo;

// Row counts of a step as numbers. Symbols would not do: an operator's infer takes two symbols for possibly
// equal, and a kernel that believes so reads `tokens` rows out of a buffer of `outputs`. Numbers that differ
// are told apart, and what holds for two sets of them holds by the names, not by chance.
struct Sizes {
  int64_t tokens, outputs, sequences, blocks, cache_blocks;
  int64_t rows(Rows kind) const {
    switch (kind) {
      case Rows::tokens:
        return tokens;
      case Rows::outputs:
        return outputs;
      case Rows::sequences:
        return sequences;
      case Rows::sequences_one:
        return sequences + 1;
    }
    return 0;
  }
};
constexpr std::array<Sizes, 2> kSizes = {{{1009, 1013, 1019, 1021, 1031}, {2003, 2011, 2017, 2027, 2029}}};

// Of integer attributes: above any count or size in a plan, and operators may multiply a few without overflow.
constexpr int64_t kMaxAttribute = int64_t{1} << 40;

template <class... Args>
[[noreturn]] void bad(fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::invalid_input, "{}", fmt::format(format, std::forward<Args>(args)...));
}

TypeInfo buffer_type(const Buffer& buffer, const Sizes& sizes) {
  TypeInfo type{buffer.dtype, {sizes.rows(buffer.rows)}, std::nullopt};
  if (buffer.columns > 0) type.shape.push_back(buffer.columns);
  if (buffer.name == kBlockTable) type.shape.push_back(sizes.blocks);  // as many as the session's cache has
  return type;
}

TypeInfo type_of(const Plan& plan, const Operand& operand, const Sizes& sizes) {
  const auto index = size_t(operand.index);
  switch (operand.kind) {
    case OperandKind::absent:
      break;
    case OperandKind::buffer:
      return buffer_type(plan.buffers[index], sizes);
    case OperandKind::constant: {
      const Constant& constant = plan.constants[index];
      return {constant.dtype, tensor::to_shape(constant.dims), std::nullopt};
    }
    case OperandKind::state: {
      const State& state = plan.states[index];
      const auto dtype = tensor::find_dtype(plan.kv);
      return {dtype.value_or(tensor::DType::undefined),
              {sizes.cache_blocks, state.kv_heads, plan.kv_block, state.head_dim},
              std::nullopt};
    }
  }
  return {};
}

void check_attributes(const op::Attributes& attributes) {
  for (const auto& [name, value] : attributes) {
    const auto* number = std::get_if<int64_t>(&value);
    if (number && (*number > kMaxAttribute || *number < -kMaxAttribute)) {
      bad("attribute \"{}\" is {}, out of range", name, *number);
    }
  }
}

void check_instruction(const Plan& plan, const Instruction& instruction, const Sizes& sizes) {
  std::vector<TypeInfo> types;
  for (const Operand& input : instruction.inputs) types.push_back(type_of(plan, input, sizes));
  op::InferContext context{.op = instruction.op,
                           .attributes = instruction.attributes,
                           .inputs = {},
                           .constants = std::vector<const tensor::Tensor*>(types.size(), nullptr),
                           .outputs = std::vector<TypeInfo>(instruction.outputs.size()),
                           .unique_name = "plan"};
  for (size_t i = 0; i < types.size(); ++i) {
    const bool absent = instruction.inputs[i].kind == OperandKind::absent;
    context.inputs.push_back(absent ? nullptr : &types[i]);
  }
  op::get_op(instruction.op).infer(context);
  for (size_t i = 0; i < instruction.outputs.size(); ++i) {
    const Operand& output = instruction.outputs[i];
    if (output.kind == OperandKind::absent) continue;
    const TypeInfo expected = type_of(plan, output, sizes);
    const TypeInfo& found = context.outputs[i];
    if (found.dtype == expected.dtype && found.shape == expected.shape) continue;
    bad("output {}: the operator gives {} in a step of {} tokens, {} outputs and {} sequences, its place holds {}", i,
        to_string(found), sizes.tokens, sizes.outputs, sizes.sequences, to_string(expected));
  }
}

// A buffer that is read must be filled: by an instruction, or by the runtime.
void check_filled(const Plan& plan) {
  std::vector<bool> filled(plan.buffers.size());
  for (size_t i = 0; i < filled.size(); ++i) filled[i] = placed_by_runtime(plan.buffers[i].name);
  for (const Instruction& instruction : plan.instructions) {
    for (const Operand& output : instruction.outputs) {
      if (output.kind == OperandKind::buffer) filled[size_t(output.index)] = true;
    }
  }
  const auto require = [&](int64_t index, std::string_view reader) {
    if (!filled[size_t(index)])
      bad("buffer \"{}\" is read by {}, but nothing fills it", plan.buffers[size_t(index)].name, reader);
  };
  for (const Instruction& instruction : plan.instructions) {
    for (const Operand& input : instruction.inputs) {
      if (input.kind == OperandKind::buffer) require(input.index, instruction.name);
    }
  }
  if (plan.logits >= 0) require(plan.logits, "the runtime");
}

}  // namespace

void check_types(const Plan& plan) {
  check_filled(plan);
  for (size_t i = 0; i < plan.instructions.size(); ++i) {
    const Instruction& instruction = plan.instructions[i];
    with_context(fmt::format("instruction {} {} \"{}\"", i, instruction.op, instruction.name), [&] {
      check_attributes(instruction.attributes);
      if (instruction.outputs.empty() || instruction.outputs[0].kind != OperandKind::buffer) {
        bad("output 0 is no buffer");
      }
      for (const Sizes& sizes : kSizes) check_instruction(plan, instruction, sizes);
    });
  }
}

}  // namespace lathe::plan
