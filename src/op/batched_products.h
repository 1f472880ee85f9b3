// The matrix product over the last two axes with the others broadcast, for quantised operands.
#pragma once

#include <vector>

#include "op/inference.h"
#include "op/products.h"
#include "op/values.h"

namespace lathe::op {

// Dims of a [.., m, k] times b [.., k, n]; a vector on the left is a row, on the right a column.
struct ProductPlan {
  tensor::Dims dims;      // of the result
  tensor::Dims batch;     // its leading axes
  tensor::Dims a_matrix;  // of a, with a vector as a matrix
  tensor::Dims b_matrix;
  int64_t m, k, n;
};
// Throws for scalars and for lengths that differ.
tensor::Shape product_shape(const InferContext& context, size_t a, size_t b);
ProductPlan plan_product(const tensor::Dims& a, const tensor::Dims& b);

// a b in V: double, or int64_t (64 bits do not overflow for 8-bit operands).
template <class V>
std::vector<V> product(const ProductPlan& plan, const std::vector<V>& a, const std::vector<V>& b) {
  const std::span<const int64_t> a_batch(plan.a_matrix.data(), plan.a_matrix.size() - 2);
  const std::span<const int64_t> b_batch(plan.b_matrix.data(), plan.b_matrix.size() - 2);
  Walk walk_a(plan.batch, broadcast_strides(a_batch, plan.batch));
  Walk walk_b(plan.batch, broadcast_strides(b_batch, plan.batch));
  std::vector<V> values(size_t(tensor::element_count(std::span(plan.dims))));
  const int64_t batches = tensor::element_count(std::span(plan.batch));
  for (int64_t i = 0; i < batches; ++i) {
    multiply(a.data() + walk_a.next() * plan.m * plan.k, plan.k, 1, b.data() + walk_b.next() * plan.k * plan.n, plan.n,
             1, plan.m, plan.k, plan.n, values.data() + i * plan.m * plan.n);
  }
  return values;
}

// A scale or zero point of an operand: one for all, or one for each row of a (a column of b): a vector for a
// matrix, else of the operand's rank with 1 along the axis that is summed (`summed`: -1 for a, -2 for b).
void check_per_line(const InferContext& context, size_t parameter, size_t operand, int summed);
// For each element of an operand of these dims, the parameter's element that belongs to it.
std::vector<int64_t> per_line_index(const tensor::Tensor& parameter, const tensor::Dims& operand, int summed);

}  // namespace lathe::op
