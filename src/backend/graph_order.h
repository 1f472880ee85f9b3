// Where the elements of a value lie, by its order.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/graph_kernel.h"

namespace lathe::backend {

// Axes from the outermost to the innermost as they lie in memory.
std::vector<size_t> axes_in_order(size_t rank, Order order);
// Elements from one index of an axis to the next, by axis; 0 for axes of length 1.
std::vector<int64_t> strides_of(const tensor::Dims& dims, Order order);

// A walk over `dims` (outermost first) that reads and writes with different strides; neighbouring axes that both walk
// alike are joined, axes of length 1 left out. Never empty.
struct StridedWalk {
  std::vector<int64_t> dims;
  std::vector<int64_t> from;  // strides in elements
  std::vector<int64_t> to;
  int64_t count = 0;  // elements
};
StridedWalk join_axes(const std::vector<int64_t>& dims, const std::vector<int64_t>& from,
                      const std::vector<int64_t>& to);

}  // namespace lathe::backend
