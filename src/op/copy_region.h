// Parts of tensors copied in runs, for operators that only move elements.
#pragma once

#include <cstdint>

#include "tensor/tensor.h"

namespace lathe::op {

// Where a region's element [i, j, ...] stands in a tensor: element start + sum(index * stride).
struct Placement {
  tensor::Dims strides;
  int64_t start = 0;
};

// Copies a region of dims `dims`; both tensors have one dtype, of any kind. Neighbours that stay neighbours are copied
// together.
void copy_region(const tensor::Dims& dims, const tensor::Tensor& source, const Placement& from, tensor::Tensor& target,
                 const Placement& to);

// The region alone, as a tensor of its own.
tensor::Tensor take_region(const tensor::Tensor& source, tensor::Dims dims, const Placement& from);

}  // namespace lathe::op
