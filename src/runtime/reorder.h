// Moving the elements of a value from one order to the other.
#pragma once

#include <cstddef>

#include "backend/graph_kernel.h"

namespace lathe::runtime {

// This share (of `shares`) of the elements of `value`, which lie at `from` in value.order, to `to` in `order`. Elements
// of whole bytes only.
void reorder(const backend::ProblemValue& value, const std::byte* from, backend::Order order, std::byte* to,
             int64_t share, int64_t shares) noexcept;

// The step that does it: input 0 to output 0 of its problem.
const backend::GraphKernel& reorder_kernel();

}  // namespace lathe::runtime
