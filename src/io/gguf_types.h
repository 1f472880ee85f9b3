// GGUF's numbers for tensor types, as dtype and encoding.
#pragma once

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/encoding.h"

namespace lathe::io {

struct GgufTensorType {
  tensor::DType dtype = tensor::DType::undefined;  // f32 for encoded tensors
  tensor::Encoding encoding = tensor::Encoding::plain;
};

// Throws unsupported for numbers that were removed from the format or are not known.
GgufTensorType gguf_tensor_type(uint32_t number);
// The inverse. Throws unsupported for dtypes that GGUF lacks.
uint32_t gguf_type_number(tensor::DType dtype, tensor::Encoding encoding);

}  // namespace lathe::io
