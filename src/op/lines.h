// Loops over the lines of a tensor along one axis (softmax, cumulative sums, top k ...).
#pragma once

#include <cstdint>

#include "op/values.h"

namespace lathe::op {

// One line: element j lies at start + j * stride.
struct Line {
  int64_t start;
  int64_t stride;
  int64_t count;
  int64_t at(int64_t j) const { return start + j * stride; }
};

// Calls body(line, number) for every line along `axis`, in row-major order of the other axes.
template <class Body>
void for_each_line(std::span<const int64_t> dims, size_t axis, Body&& body) {
  const int64_t outer = count_of(dims, 0, axis);
  const int64_t inner = count_of(dims, axis + 1, dims.size());
  const int64_t count = dims[axis];
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < inner; ++i) body(Line{o * count * inner + i, inner, count}, o * inner + i);
  }
}

// Replaces a line by its softmax; a line that is -infinity throughout becomes 0 if `masked_to_zero`, else
// NaN.
void softmax_line(std::vector<double>& values, const Line& line, bool masked_to_zero = false);

}  // namespace lathe::op
