// Sums of products for MatMul, Gemm, Attention and the linear operators: exact products, sums in double.
#pragma once

#include <cstdint>
#include <type_traits>

namespace lathe::op {

// sum over k of a[k * stride_a] * b[k * stride_b]. Products of floats are exact in double; integers wrap.
template <class A, class B>
auto dot(const A* a, int64_t stride_a, const B* b, int64_t stride_b, int64_t count) {
  if constexpr (std::is_floating_point_v<A>) {
    double sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += double(a[k * stride_a]) * double(b[k * stride_b]);
    return sum;
  } else {
    uint64_t sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += uint64_t(a[k * stride_a]) * uint64_t(b[k * stride_b]);
    return sum;
  }
}

// c [m, n] = a b with a [m, k] and b [k, n], both with strides (rows, columns). Rows of b are read in order,
// so a large b goes through the cache once for each row of a.
template <class A, class B, class Sum>
void multiply(const A* a, int64_t a_row, int64_t a_column, const B* b, int64_t b_row, int64_t b_column,
              int64_t m, int64_t k, int64_t n, Sum* c) {
  for (int64_t i = 0; i < m; ++i) {
    if (b_column != 1) {
      for (int64_t j = 0; j < n; ++j) {
        c[i * n + j] = Sum(dot(a + i * a_row, a_column, b + j * b_column, b_row, k));
      }
      continue;
    }
    for (int64_t j = 0; j < n; ++j) c[i * n + j] = 0;
    for (int64_t l = 0; l < k; ++l) {
      const Sum left = Sum(a[i * a_row + l * a_column]);
      const B* row = b + l * b_row;
      for (int64_t j = 0; j < n; ++j) c[i * n + j] += left * Sum(row[j]);
    }
  }
}

}  // namespace lathe::op
