// Every kernel in every form that is launched, for nvcc.
#include "backend/cuda/kernels/linear_decode.h"
#include "backend/cuda/kernels/linear_prefill.h"
#include "backend/cuda/kernels/paged_attention.h"

namespace lathe::backend::cuda {

#define LATHE_LINEAR_DECODE(format, vector, tokens) \
  template __global__ void linear_decode<format, vector, tokens>(LinearDecode<format>);
#define LATHE_LINEAR_DECODE_TOKENS(format, vector) \
  LATHE_LINEAR_DECODE(format, vector, 1)           \
  LATHE_LINEAR_DECODE(format, vector, 2)           \
  LATHE_LINEAR_DECODE(format, vector, 3)           \
  LATHE_LINEAR_DECODE(format, vector, 4)
#define LATHE_LINEAR_DECODE_FORMAT(format) \
  LATHE_LINEAR_DECODE_TOKENS(format, true) \
  LATHE_LINEAR_DECODE_TOKENS(format, false)

LATHE_LINEAR_DECODE_FORMAT(F32Format)
LATHE_LINEAR_DECODE_FORMAT(F16Format)
LATHE_LINEAR_DECODE_FORMAT(Bf16Format)

// By lanes that hold a head (head_dim / 8, up to a power of two) and query heads of a KV head that are taken at a time.
#define LATHE_ATTEND(format, lanes)                                               \
  template __global__ void attend_part<format, lanes, 1>(PagedAttention<format>); \
  template __global__ void attend_part<format, lanes, 4>(PagedAttention<format>);
#define LATHE_PAGED_ATTENTION(format)                                   \
  template __global__ void append_kv<format>(PagedAttention<format>);   \
  template __global__ void merge_parts<format>(PagedAttention<format>); \
  LATHE_ATTEND(format, 8)                                               \
  LATHE_ATTEND(format, 16)                                              \
  LATHE_ATTEND(format, 32)

LATHE_PAGED_ATTENTION(F32Format)
LATHE_PAGED_ATTENTION(F16Format)
LATHE_PAGED_ATTENTION(Bf16Format)

template __global__ void linear_prefill<false>(LinearPrefill);
template __global__ void linear_prefill<true>(LinearPrefill);

}  // namespace lathe::backend::cuda
