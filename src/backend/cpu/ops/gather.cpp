// Gather of whole f32 rows by an index per row: the tokens whose logits are wanted.
#include <cstring>

#include "backend/bound.h"
#include "backend/refusals.h"

namespace lathe::backend {
namespace {

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
                                     .refusal = refuse_gather,
                                     .scratch_size = nullptr,
                                     .prepare = nullptr,
                                     .run = run};
  return kKernel;
}

}  // namespace lathe::backend
