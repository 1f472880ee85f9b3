// Launches of linear_decode_blocks in each of its forms.
#include "backend/cuda/library/block_launch_rules.h"
#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

LinearDecodeBlocks arguments_of(const LatheCudaLinearDecode& call) {
  LinearDecodeBlocks arguments{};
  arguments.x = call.x;
  arguments.tokens = call.tokens;
  arguments.columns = call.columns;
  arguments.norm = {NormKind(call.norm), call.norm_scale, call.norm_bias, call.epsilon};
  arguments.rounding = rounds_to_integers(call.rounding) ? Rounding::none : Rounding(call.rounding);
  arguments.weights = static_cast<const uint8_t*>(call.weights);
  arguments.gate = static_cast<const uint8_t*>(call.gate);
  arguments.bias = call.bias;
  arguments.gate_bias = call.gate_bias;
  arguments.rows = call.rows;
  arguments.split = decode_split(call.rows, call.columns);
  arguments.function = Function(call.function);
  arguments.residual = call.residual;
  arguments.y = call.y;
  arguments.y_stride = call.y_stride;
  arguments.y_first = call.y_first;
  return arguments;
}

template <class Shape, class Numbers>
int32_t launch_form(int tokens, const LatheCudaStream& stream, const LatheCudaLinearDecode& call,
                    LatheCudaMessage* message) {
  const LinearDecodeBlocks arguments = arguments_of(call);
  const auto kernel = tokens == 1   ? linear_decode_blocks<Shape, Numbers, 1>
                      : tokens == 2 ? linear_decode_blocks<Shape, Numbers, 2>
                                    : linear_decode_blocks<Shape, Numbers, 4>;
  const dim3 grid(decode_blocks(call.rows, arguments.split), unsigned((call.tokens + tokens - 1) / tokens));
  const size_t shared = size_t(sums_bytes(tokens) + tokens * token_bytes(call.columns, Numbers::kBytes));
  return launch("linear_decode_blocks", kernel, grid, kDecodeThreads, shared, stream, arguments, message);
}

}  // namespace

int32_t launch_linear_decode_blocks(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                                    LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode_blocks: null");
  if (const int32_t status = check_linear_decode_blocks(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  const int tokens = decode_block_tokens(*call, stream->shared_per_block);
  if (tokens == 0) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_decode_blocks: %d columns do not fit into %llu bytes",
                  call->columns, static_cast<unsigned long long>(stream->shared_per_block));
  }
  if ((int64_t(call->tokens) + tokens - 1) / tokens > kMostBlocksY) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_decode_blocks: %d tokens, expected %d at the most",
                  call->tokens, kMostBlocksY * tokens);
  }
  return with_format(call->format, [&](auto shape) {
    using Shape = decltype(shape);
    switch (call->rounding) {
      case LATHE_CUDA_ROUND_I8:
        return launch_form<Shape, IntegerNumbers<8>>(tokens, *stream, *call, message);
      case LATHE_CUDA_ROUND_I16:
        return launch_form<Shape, IntegerNumbers<16>>(tokens, *stream, *call, message);
      default:
        return launch_form<Shape, FloatNumbers>(tokens, *stream, *call, message);
    }
  });
}

}  // namespace lathe::backend::cuda
