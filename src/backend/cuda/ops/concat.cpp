// Concat of rows side by side: projections that activations are rounded differently for.
#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"

namespace lathe::backend::cuda {
namespace {

std::optional<std::string> refusal(const plan::Plan& plan, const plan::Instruction& instruction) {
  const plan::Buffer& out = output_buffer(plan, instruction);
  const int64_t axis = instruction.attributes.get_int("axis", 0);
  if (out.columns == 0 || (axis != -1 && axis != 1)) return "another axis than the columns";
  int64_t columns = 0;
  for (const plan::Operand& operand : instruction.inputs) {
    const plan::Buffer* in = buffer_of(plan, &operand);
    if (!in || in->dtype != tensor::DType::f32 || in->rows != out.rows || in->columns == 0) {
      return "inputs that are not f32 buffers of as many rows";
    }
    columns += in->columns;
  }
  if (columns != out.columns || out.dtype != tensor::DType::f32) return "columns that do not add up";
  return std::nullopt;
}

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  LatheCudaPlaceColumns call = {};
  call.y = output_data<float>(bound);
  call.tokens = int32_t(step.rows(out.rows));
  call.y_stride = int32_t(out.columns);
  for (size_t i = 0; i < bound.inputs.size(); ++i) {
    call.x = input_data<float>(bound, i);
    call.columns = int32_t(buffer_of(*bound.plan, &bound.instruction->inputs[i])->columns);
    launch(bound, &LatheCudaApi::place_columns, call);
    call.y_first += call.columns;
  }
}

}  // namespace

const Kernel& concat_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.concat",
                                     .op = "Concat",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
