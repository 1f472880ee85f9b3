#include "backend/cpu/elementwise.h"

#include <cstring>

#include "base/error.h"

namespace lathe::backend::cpu {

namespace avx2 {
extern const ElementwiseKernels elementwise_kernels;
}
namespace avx512 {
extern const ElementwiseKernels elementwise_kernels;
}

const ElementwiseKernels& elementwise_kernels(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return avx2::elementwise_kernels;
    case Isa::avx512:
    case Isa::amx:
    case Isa::amx_emulated:
      return avx512::elementwise_kernels;
  }
  fail(ErrorCode::internal, "isa {}", int(isa));
}

void gather_rows(const float* table, int64_t columns, const int32_t* rows, int64_t count,
                 float* out) noexcept {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(out + i * columns, table + rows[i] * columns, size_t(columns) * sizeof(float));
  }
}

}  // namespace lathe::backend::cpu
