// Launches of linear_prefill in both of its forms.
#include "backend/cuda/kernels/linear_prefill.h"

#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {

int32_t launch_linear_prefill(LatheCudaStream* stream, const LatheCudaLinearPrefill* call,
                              LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_prefill: null");
  if (const int32_t status = check_linear_prefill(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  const dim3 grid(unsigned((call->rows - 1) / kTile + 1), unsigned((call->tokens - 1) / kTile + 1));
  if (grid.y > kMostBlocksY) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_prefill: %d tokens, expected %d at the most", call->tokens,
                  kMostBlocksY * kTile);
  }
  LinearPrefill arguments{};
  arguments.x = static_cast<const uint16_t*>(call->x);
  arguments.weights = static_cast<const uint16_t*>(call->weights);
  arguments.tokens = call->tokens;
  arguments.rows = call->rows;
  arguments.columns = call->columns;
  arguments.bias = call->bias;
  arguments.function = Function(call->function);
  arguments.residual = call->residual;
  arguments.y = call->y;
  arguments.y_stride = call->y_stride;
  arguments.y_first = call->y_first;
  constexpr size_t kShared = size_t(kStages) * kStageNumbers * sizeof(uint16_t);
  static_assert(kShared <= kSharedWithoutAsking);
  const auto kernel = call->format == LATHE_CUDA_BF16 ? &linear_prefill<true> : &linear_prefill<false>;
  return launch("linear_prefill", kernel, grid, kPrefillThreads, kShared, *stream, arguments, message);
}

}  // namespace lathe::backend::cuda
