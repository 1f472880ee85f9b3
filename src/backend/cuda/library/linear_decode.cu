// Launches of linear_decode in each of its forms.
#include "backend/cuda/kernels/linear_decode.h"

#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

template <class Format>
LinearDecode<Format> arguments_of(const LatheCudaLinearDecode& call) {
  using Stored = typename Format::Stored;
  LinearDecode<Format> arguments{};
  arguments.x = call.x;
  arguments.tokens = call.tokens;
  arguments.columns = call.columns;
  arguments.norm = NormKind(call.norm);
  arguments.norm_scale = call.norm_scale;
  arguments.norm_bias = call.norm_bias;
  arguments.epsilon = call.epsilon;
  arguments.rounding = Rounding(call.rounding);
  arguments.weights = static_cast<const Stored*>(call.weights);
  arguments.gate = static_cast<const Stored*>(call.gate);
  arguments.bias = call.bias;
  arguments.gate_bias = call.gate_bias;
  arguments.rows = call.rows;
  arguments.function = Function(call.function);
  arguments.residual = call.residual;
  arguments.y = call.y;
  arguments.y_stride = call.y_stride;
  arguments.y_first = call.y_first;
  return arguments;
}

template <class Format, bool kVector, int kTokens>
int32_t launch_form(const LatheCudaStream& stream, const LatheCudaLinearDecode& call, LatheCudaMessage* message) {
  const size_t shared = size_t(kTokens) * size_t(call.columns) * sizeof(float);
  const dim3 grid(linear_decode_blocks(call.rows), unsigned((call.tokens + kTokens - 1) / kTokens));
  return launch("linear_decode", &linear_decode<Format, kVector, kTokens>, grid, kDecodeThreads, shared, stream,
                arguments_of<Format>(call), message);
}

template <class Format, bool kVector>
int32_t launch_tokens(int tokens, const LatheCudaStream& stream, const LatheCudaLinearDecode& call,
                      LatheCudaMessage* message) {
  static_assert(kDecodeTokens == 4);
  switch (tokens) {
    case 1:
      return launch_form<Format, kVector, 1>(stream, call, message);
    case 2:
      return launch_form<Format, kVector, 2>(stream, call, message);
    case 3:
      return launch_form<Format, kVector, 3>(stream, call, message);
    default:
      return launch_form<Format, kVector, 4>(stream, call, message);
  }
}

template <class Format>
int32_t launch_format(int tokens, const LatheCudaStream& stream, const LatheCudaLinearDecode& call,
                      LatheCudaMessage* message) {
  return decodes_by_vectors(call) ? launch_tokens<Format, true>(tokens, stream, call, message)
                                  : launch_tokens<Format, false>(tokens, stream, call, message);
}

}  // namespace

int32_t launch_linear_decode(LatheCudaStream* stream, const LatheCudaLinearDecode* call,
                             LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "linear_decode: null");
  if (const int32_t status = check_linear_decode(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  const int tokens = decode_tokens(*call, stream->shared_per_block);
  if (tokens == 0) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_decode: %d columns do not fit into %llu bytes of a block",
                  call->columns, static_cast<unsigned long long>(stream->shared_per_block));
  }
  if ((call->tokens + tokens - 1) / tokens > kMostBlocksY) {
    return refuse(message, LATHE_CUDA_UNSUPPORTED, "linear_decode: %d tokens, expected %d at the most", call->tokens,
                  kMostBlocksY * tokens);
  }
  switch (call->format) {
    case LATHE_CUDA_F32:
      return launch_format<F32Format>(tokens, *stream, *call, message);
    case LATHE_CUDA_F16:
      return launch_format<F16Format>(tokens, *stream, *call, message);
    default:
      return launch_format<Bf16Format>(tokens, *stream, *call, message);
  }
}

}  // namespace lathe::backend::cuda
