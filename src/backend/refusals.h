// Why an instruction of a language model's plan is not as kernels of every device need it. What a plan says was read
// from a file: kernels believe what is asked here and check nothing when they run.
#pragma once

#include <optional>
#include <string>

#include "plan/plan.h"

namespace lathe::backend {

// Inputs of lathe.Linear, see op/lathe_linear.cpp: weights of the parts follow, then biases.
inline constexpr size_t kLinearX = 0, kLinearResidual = 1, kLinearNormScale = 2, kLinearNormBias = 3,
                        kLinearWeights = 4;
// Inputs of lathe.PagedAttention as the compiler lays them out; the two caches of the operator are one state.
inline constexpr size_t kAttentionQkv = 0, kAttentionCos = 1, kAttentionSin = 2, kAttentionFirstToken = 3,
                        kAttentionFirstPosition = 4, kAttentionBlockTable = 5, kAttentionState = 6;

using Refused = std::optional<std::string>;

// All inputs are f32 buffers of the output's rows and columns.
Refused refuse_unequal_buffers(const plan::Plan& plan, const plan::Instruction& instruction);
// lathe.Linear without its weights: x, residual, norms and biases. Every weight is a constant.
Refused refuse_linear_operands(const plan::Plan& plan, const plan::Instruction& instruction);
// lathe.Embed: the table is a constant, the ids are the step's own.
Refused refuse_embed_operands(const plan::Plan& plan, const plan::Instruction& instruction);
// Gather of rows by output_rows.
Refused refuse_gather(const plan::Plan& plan, const plan::Instruction& instruction);
// RMSNormalization over rows.
Refused refuse_rms_normalization(const plan::Plan& plan, const plan::Instruction& instruction);
// lathe.RotaryTable of the step's positions, but for frequencies that depend on the length.
Refused refuse_rotary_operands(const plan::Plan& plan, const plan::Instruction& instruction);
// lathe.PagedAttention on one state and the step's own tables, in blocks of so many positions.
Refused refuse_attention_operands(const plan::Plan& plan, const plan::Instruction& instruction, int64_t kv_block);

}  // namespace lathe::backend
