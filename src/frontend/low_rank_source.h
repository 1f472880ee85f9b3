// A weight plus a product of two thin matrices, computed where it is read.
#pragma once

#include "tensor/source.h"

namespace lathe::frontend {

// base + scale * up down, as f32 under the dims of `base` [outputs, ..]: down is [rank, inputs] and up [outputs, rank],
// where inputs is the product of all of base's other axes. What is read is computed then and there; nothing is kept.
tensor::SourcePtr low_rank_source(const tensor::SourcePtr& base, tensor::SourcePtr up, tensor::SourcePtr down,
                                  double scale);

}  // namespace lathe::frontend
