// The key-value cache of one layer, as devices are asked for it.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace lathe::backend {

struct KvShape {
  tensor::DType dtype = tensor::DType::f32;  // f32, f16 or bf16
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};

}  // namespace lathe::backend
