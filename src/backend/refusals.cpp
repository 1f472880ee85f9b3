#include "backend/refusals.h"

#include <utility>

#include "backend/bound.h"

namespace lathe::backend {

using plan::Instruction;
using plan::Plan;
using tensor::DType;

Refused refuse_unequal_buffers(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer& out = output_buffer(plan, instruction);
  for (const plan::Operand& operand : instruction.inputs) {
    const plan::Buffer* in = buffer_of(plan, &operand);
    if (!in || in->dtype != DType::f32 || in->rows != out.rows || in->columns != out.columns) {
      return "inputs that are not f32 buffers of one shape";
    }
  }
  return std::nullopt;
}

Refused refuse_linear_operands(const Plan& plan, const Instruction& instruction) {
  if (!buffer_of(plan, operand_of(instruction, kLinearX))) return "x that is no buffer";
  if (operand_of(instruction, kLinearResidual) && !buffer_of(plan, operand_of(instruction, kLinearResidual))) {
    return "a residual that is no buffer";
  }
  const auto parts = size_t(instruction.attributes.get_int("parts", 1));
  for (size_t part = 0; part < parts; ++part) {
    if (!constant_of(plan, instruction, kLinearWeights + part)) return "a weight that is no constant";
    const size_t bias = kLinearWeights + parts + part;
    if (operand_of(instruction, bias) && !is_plain_f32(plan, instruction, bias)) {
      return "a bias that is no f32 constant";
    }
  }
  for (const size_t norm : {kLinearNormScale, kLinearNormBias}) {
    if (operand_of(instruction, norm) && !is_plain_f32(plan, instruction, norm)) {
      return "a norm that is no f32 constant";
    }
  }
  return std::nullopt;
}

Refused refuse_embed_operands(const Plan& plan, const Instruction& instruction) {
  if (!constant_of(plan, instruction, 0)) return "the table is no constant";
  // Which values these hold, and so how long the table is, was checked against the contract.
  const plan::Buffer* ids = buffer_of(plan, operand_of(instruction, 1));
  if (!ids || (ids->name != plan::kTokenIds && ids->name != plan::kPositions)) return "ids that are not the step's own";
  return std::nullopt;
}

Refused refuse_gather(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer* data = buffer_of(plan, operand_of(instruction, 0));
  const plan::Buffer* rows = buffer_of(plan, operand_of(instruction, 1));
  if (!data || data->dtype != DType::f32 || data->columns == 0) return "data that is no f32 buffer of rows";
  // Only these are known to be rows of the step; any others would have to be checked one by one.
  if (!rows || rows->name != plan::kOutputRows) return "indices that are not output_rows";
  if (data->rows != plan::Rows::tokens) return "data that is not per token";
  if (instruction.attributes.get_int("axis", 0) != 0) return "an axis other than 0";
  return std::nullopt;
}

Refused refuse_rms_normalization(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer* x = buffer_of(plan, operand_of(instruction, 0));
  if (!x || x->dtype != DType::f32 || x->columns == 0) return "x that is no f32 buffer of rows";
  if (instruction.attributes.get_int("axis", -1) != -1) return "another axis than the last";
  if (!is_plain_f32(plan, instruction, 1)) return "a scale that is no f32 constant";
  const plan::Constant& scale = *constant_of(plan, instruction, 1);
  if (scale.dims != tensor::Dims{x->columns}) return "a scale that is not one number per column";
  return std::nullopt;
}

Refused refuse_rotary_operands(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer* positions = buffer_of(plan, operand_of(instruction, 0));
  if (!positions || positions->rows != plan::Rows::tokens) return "positions that are not per token";
  if (!is_plain_f32(plan, instruction, 1)) return "frequencies that are no f32 constant";
  for (const plan::Operand& output : instruction.outputs) {
    if (!buffer_of(plan, &output)) return "a table that is not wanted";
  }
  return std::nullopt;
}

Refused refuse_attention_operands(const Plan& plan, const Instruction& instruction, int64_t kv_block) {
  const plan::Operand* state = operand_of(instruction, kAttentionState);
  if (!state || state->kind != plan::OperandKind::state) return "the cache is no state";
  const bool in_place = instruction.inputs[kAttentionState + 1] == *state && instruction.outputs.size() == 3 &&
                        instruction.outputs[1] == *state && instruction.outputs[2] == *state;
  if (!in_place) return "keys and values that are not one state, changed in place";
  const plan::Buffer* qkv = buffer_of(plan, operand_of(instruction, kAttentionQkv));
  if (!qkv || qkv->rows != plan::Rows::tokens) return "queries, keys and values that are not per token";
  static constexpr std::pair<size_t, std::string_view> kTables[] = {{kAttentionFirstToken, plan::kFirstToken},
                                                                    {kAttentionFirstPosition, plan::kFirstPosition},
                                                                    {kAttentionBlockTable, plan::kBlockTable}};
  for (const auto& [input, name] : kTables) {  // what they point to is not checked again
    const plan::Buffer* table = buffer_of(plan, operand_of(instruction, input));
    if (!table || table->name != name) return fmt::format("a table other than the step's {}", name);
  }
  for (const size_t input : {kAttentionCos, kAttentionSin}) {
    if (operand_of(instruction, input) && !buffer_of(plan, operand_of(instruction, input))) {
      return "a rotary table that is no buffer";
    }
  }
  if (plan.kv_block != kv_block) return fmt::format("cache blocks of {} positions", plan.kv_block);
  return std::nullopt;
}

}  // namespace lathe::backend
