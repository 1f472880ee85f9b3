// Attributes and constant inputs of graph kernels' problems, read.
#pragma once

#include <optional>
#include <vector>

#include "backend/graph_kernel.h"
#include "op/inference.h"

namespace lathe::backend {

// `perm` of a Transpose, written out where it is the default.
inline std::vector<int64_t> permutation_of(const Problem& problem) {
  const int64_t rank = int64_t(problem.inputs[0].dims.size());
  std::vector<int64_t> reversed;
  for (int64_t i = rank; i-- > 0;) reversed.push_back(i);
  return problem.attributes().find_ints("perm").value_or(reversed);
}

// An axis in [-rank, rank), which inference has checked, as an index.
inline size_t axis_at(int64_t axis, size_t rank) {
  return op::axis_index(axis, int(rank));
}

// The numbers of integer input `i`, where they are known.
inline std::optional<std::vector<int64_t>> ints_of(const Problem& problem, size_t i) {
  if (!problem.has_input(i) || !problem.inputs[i].known) return std::nullopt;
  std::vector<int64_t> numbers;
  for (int64_t k = 0; k < problem.inputs[i].known->size(); ++k) {
    numbers.push_back(int64_t(tensor::element_as_double(*problem.inputs[i].known, k)));
  }
  return numbers;
}

inline bool is_f32(const ProblemValue& value) {
  return value.dtype == tensor::DType::f32;
}
// Bytes of an element, 0 for types of less than a byte.
inline size_t element_bytes(const ProblemValue& value) {
  return size_t(tensor::bits(value.dtype) / 8);
}

}  // namespace lathe::backend
