// Launches of norms, sums and products by element, rows of tables and rotary tables.
#include "backend/cuda/kernels/rows.h"

#include "backend/cuda/library/library.h"

namespace lathe::backend::cuda {
namespace {

constexpr int64_t kMostCombineBlocks = 4096;  // threads of more go on to the next element

template <class Out>
int32_t launch_norm(const LatheCudaStream& stream, const LatheCudaNormalise& call, LatheCudaMessage* message) {
  Normalise<Out> arguments{};
  arguments.x = call.x;
  arguments.columns = call.columns;
  arguments.norm = NormKind(call.norm);
  arguments.scale = call.scale;
  arguments.bias = call.bias;
  arguments.epsilon = call.epsilon;
  arguments.rounding = Rounding(call.rounding);
  arguments.y = static_cast<Out*>(call.y);
  const dim3 grid(unsigned(call.tokens));
  return launch("normalise", &normalise<Out>, grid, kRowThreads, 0, stream, arguments, message);
}

template <class Format>
int32_t launch_format(const LatheCudaStream& stream, const LatheCudaLookUp& call, LatheCudaMessage* message) {
  LookUp<Format> arguments{};
  arguments.rows = call.rows;
  arguments.table = static_cast<const typename Format::Stored*>(call.table);
  arguments.y = call.y;
  arguments.columns = call.columns;
  const dim3 grid(unsigned(call.count));
  return launch("look_up", &look_up<Format>, grid, kRowThreads, 0, stream, arguments, message);
}

}  // namespace

int32_t launch_normalise(LatheCudaStream* stream, const LatheCudaNormalise* call, LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "normalise: null");
  if (const int32_t status = check_normalise(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  return call->rounding == LATHE_CUDA_ROUND_NONE ? launch_norm<float>(*stream, *call, message)
                                                 : launch_norm<uint16_t>(*stream, *call, message);
}

int32_t launch_combine(LatheCudaStream* stream, const LatheCudaCombine* call, LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "combine: null");
  if (const int32_t status = check_combine(*call, message)) return status;
  if (call->count == 0) return LATHE_CUDA_OK;
  Combine arguments{};
  arguments.a = call->a;
  arguments.b = call->b;
  arguments.residual = call->residual;
  arguments.y = call->y;
  arguments.count = call->count;
  arguments.multiplies = call->operation == LATHE_CUDA_MULTIPLY;
  const int64_t blocks = (call->count + kRowThreads - 1) / kRowThreads;
  const dim3 grid(unsigned(blocks < kMostCombineBlocks ? blocks : kMostCombineBlocks));
  return launch("combine", &combine, grid, kRowThreads, 0, *stream, arguments, message);
}

int32_t launch_place_columns(LatheCudaStream* stream, const LatheCudaPlaceColumns* call,
                             LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "place_columns: null");
  if (const int32_t status = check_place_columns(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  PlaceColumns arguments{};
  arguments.x = call->x;
  arguments.y = call->y;
  arguments.columns = call->columns;
  arguments.y_stride = call->y_stride;
  arguments.y_first = call->y_first;
  const dim3 grid(unsigned(call->tokens));
  return launch("place_columns", &place_columns, grid, kRowThreads, 0, *stream, arguments, message);
}

int32_t launch_look_up(LatheCudaStream* stream, const LatheCudaLookUp* call, LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "look_up: null");
  if (const int32_t status = check_look_up(*call, message)) return status;
  if (call->count == 0) return LATHE_CUDA_OK;
  switch (call->format) {
    case LATHE_CUDA_F32:
      return launch_format<F32Format>(*stream, *call, message);
    case LATHE_CUDA_F16:
      return launch_format<F16Format>(*stream, *call, message);
    default:
      return launch_format<Bf16Format>(*stream, *call, message);
  }
}

int32_t launch_rotary_table(LatheCudaStream* stream, const LatheCudaRotaryTable* call,
                            LatheCudaMessage* message) noexcept {
  if (!stream || !call) return refuse(message, LATHE_CUDA_BAD_ARGUMENT, "rotary_table: null");
  if (const int32_t status = check_rotary_table(*call, message)) return status;
  if (call->tokens == 0) return LATHE_CUDA_OK;
  RotaryTable arguments{};
  arguments.positions = call->positions;
  arguments.frequencies = call->frequencies;
  arguments.cos = call->cos;
  arguments.sin = call->sin;
  arguments.half = call->half;
  arguments.scale = call->scale;
  arguments.base = call->base;
  const dim3 grid(unsigned(call->tokens));
  return launch("rotary_table", &rotary_table, grid, kRowThreads, 0, *stream, arguments, message);
}

}  // namespace lathe::backend::cuda
