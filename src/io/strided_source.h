// Tensors whose elements do not lie in order: views with strides of a larger array.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/file.h"
#include "tensor/source.h"

namespace lathe::io {

// The elements of `dims` out of `bytes`, those of one step along axis i being strides[i] elements apart; all of them
// must lie within. In order where the strides allow it, so that nothing is copied. Plain types of whole bytes.
tensor::SourcePtr strided_source(tensor::DType dtype, tensor::Dims dims, tensor::Dims strides,
                                 std::span<const std::byte> bytes, std::shared_ptr<const MappedFile> file,
                                 std::string origin);

}  // namespace lathe::io
