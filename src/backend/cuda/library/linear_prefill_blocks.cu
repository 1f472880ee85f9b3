// Launches of linear_prefill_blocks and round_activations in each of their forms.
#include "backend/cuda/library/block_launch_rules.h"
#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

template <class Shape, class Numbers>
int32_t launch_form(const LatheCudaStream& stream, const LatheCudaLinearPrefillBlocks& call,
                    LatheCudaMessage* message) {
  constexpr size_t kShared = Staged<Shape, Numbers>::kBytes;
  if (kShared > stream.shared_per_block) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_prefill_blocks: %llu bytes of shared memory, of %llu",
                  static_cast<unsigned long long>(kShared), static_cast<unsigned long long>(stream.shared_per_block));
  }
  LinearPrefillBlocks arguments{};
  arguments.x = static_cast<const uint8_t*>(call.x);
  arguments.x_blocks = call.x_blocks;
  arguments.weights = static_cast<const uint8_t*>(call.weights);
  arguments.tokens = call.tokens;
  arguments.rows = call.rows;
  arguments.columns = call.columns;
  arguments.bias = call.bias;
  arguments.function = Function(call.function);
  arguments.residual = call.residual;
  arguments.y = call.y;
  arguments.y_stride = call.y_stride;
  arguments.y_first = call.y_first;
  const dim3 grid(unsigned((call.rows - 1) / kTileRows + 1), unsigned((call.tokens - 1) / kTileTokens + 1));
  return launch("linear_prefill_blocks", linear_prefill_blocks<Shape, Numbers>, grid, kPrefillThreads, kShared, stream,
                arguments, message);
}

}  // namespace

int32_t launch_linear_prefill_blocks(LatheCudaStream* stream, const LatheCudaLinearPrefillBlocks* call,
                                     LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_prefill_blocks: null");
  if (const int32_t status = check_linear_prefill_blocks(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  return with_format(call->format, [&](auto shape) {
    using Shape = decltype(shape);
    switch (call->rounding) {
      case LATHE_CUDA_ROUND_I8:
        return launch_form<Shape, CodeNumbers<1>>(*stream, *call, message);
      case LATHE_CUDA_ROUND_I16:
        return launch_form<Shape, CodeNumbers<2>>(*stream, *call, message);
      case LATHE_CUDA_ROUND_BF16:
        return launch_form<Shape, HalfNumbers<true>>(*stream, *call, message);
      default:
        return launch_form<Shape, HalfNumbers<false>>(*stream, *call, message);
    }
  });
}

int32_t launch_round_activations(LatheCudaStream* stream, const LatheCudaRoundActivations* call,
                                 LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "round_activations: null");
  if (const int32_t status = check_round_activations(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  RoundActivations arguments{};
  arguments.x = call->x;
  arguments.tokens = call->tokens;
  arguments.columns = call->columns;
  arguments.norm = {NormKind(call->norm), call->norm_scale, call->norm_bias, call->epsilon};
  arguments.rounding = call->rounding == LATHE_CUDA_ROUND_BF16 ? Rounding::bf16 : Rounding::f16;
  arguments.out = static_cast<uint8_t*>(call->out);
  arguments.blocks = call->blocks;
  const auto kernel = call->rounding == LATHE_CUDA_ROUND_I8    ? round_activations<Integers<8>>
                      : call->rounding == LATHE_CUDA_ROUND_I16 ? round_activations<Integers<16>>
                                                               : round_activations<Halves>;
  return launch("round_activations", kernel, dim3(unsigned(call->tokens)), kDecodeThreads, 0, *stream, arguments,
                message);
}

}  // namespace lathe::backend::cuda
