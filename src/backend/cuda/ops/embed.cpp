// lathe.Embed: one row of a table per token.
#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/cuda/host/row_layouts.h"
#include "backend/refusals.h"

namespace lathe::backend::cuda {
namespace {

std::optional<std::string> refusal(const plan::Plan& plan, const plan::Instruction& instruction) {
  if (auto reason = refuse_embed_operands(plan, instruction)) return reason;
  const plan::Constant& table = *constant_of(plan, instruction, 0);
  if (format_of(table.layout, table.dtype, table.encoding)) return std::nullopt;
  const bool plain = table.encoding == tensor::Encoding::plain;
  return fmt::format("a table of {} in layout {}",
                     plain ? tensor::to_string(table.dtype) : tensor::to_string(table.encoding), table.layout);
}

void run(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const plan::Constant& table = *constant_of(*bound.plan, *bound.instruction, 0);
  const auto set = [&](auto call) {
    call.rows = input_data<int64_t>(bound, 1);
    call.table = bound.inputs[0];
    call.y = output_data<float>(bound);
    call.count = int32_t(step.rows(output_buffer(*bound.plan, *bound.instruction).rows));
    call.columns = int32_t(table.dims[1]);
    call.format = *format_of(table.layout, table.dtype, table.encoding);
    return call;
  };
  if (table.encoding == tensor::Encoding::plain)
    launch(bound, &LatheCudaApi::look_up, set(LatheCudaLookUp{}));
  else
    launch(bound, &LatheCudaApi::look_up_blocks, set(LatheCudaLookUpBlocks{}));
}

}  // namespace

const Kernel& embed_kernel() {
  static constexpr Kernel kKernel = {.name = "cuda.embed",
                                     .op = "lathe.Embed",
                                     .refusal = refusal,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend::cuda
