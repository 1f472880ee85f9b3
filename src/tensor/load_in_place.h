// Sources as tensors without a copy where that is possible.
#pragma once

#include "tensor/source.h"
#include "tensor/tensor.h"

namespace lathe::tensor {

// A view of the stored bytes where they lie in memory in order, aligned and plain; else what load() gives.
Tensor load_in_place(const SourcePtr& source);

// What a converted plain source is converted from; others are their own. Two of one dtype over the same one hold the
// same.
const Source* unconverted(const SourcePtr& source);

}  // namespace lathe::tensor
