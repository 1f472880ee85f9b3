// Gather of whole f32 rows by an index per row: the tokens whose logits are wanted.
#include <cstring>

#include "backend/bound.h"

namespace lathe::backend {
namespace {

using plan::Instruction;
using plan::Plan;

std::optional<std::string> refusal(const Plan& plan, const Instruction& instruction) {
  const plan::Buffer* data = buffer_of(plan, operand_of(instruction, 0));
  const plan::Buffer* rows = buffer_of(plan, operand_of(instruction, 1));
  if (!data || data->dtype != tensor::DType::f32 || data->columns == 0) return "data that is no f32 buffer of rows";
  // Only these are known to be rows of the step; any others would have to be checked one by one.
  if (!rows || rows->name != plan::kOutputRows) return "indices that are not output_rows";
  if (data->rows != plan::Rows::tokens) return "data that is not per token";
  if (instruction.attributes.get_int("axis", 0) != 0) return "an axis other than 0";
  return std::nullopt;
}

// Indices are the session's own.
void run(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  const float* data = input_data<float>(bound, 0);
  const int64_t* rows = input_data<int64_t>(bound, 1);
  const auto [begin, end] = member.share(step.rows(out.rows));
  for (int64_t i = begin; i < end; ++i) {
    std::memcpy(output_data<float>(bound) + i * out.columns, data + rows[i] * out.columns, size_t(out.columns) * 4);
  }
}

}  // namespace

const Kernel& gather_kernel() {
  static constexpr Kernel kKernel = {.name = "cpu.gather_rows",
                                     .op = "Gather",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
