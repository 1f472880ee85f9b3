// Determinants of the square matrices in the last two axes, by elimination with row exchanges.
#include <algorithm>
#include <cmath>

#include "op/inference.h"
#include "op/values.h"

namespace lathe::op {
namespace {

void infer_det(InferContext& context) {
  const TypeInfo& x = require(context, 0, kFloat);
  const size_t rank = x.shape.size();
  if (rank < 2) bad(context, "expected square matrices, found {}", to_string(x));
  require_dims_agree(context, "rows and columns", x.shape[rank - 2], x.shape[rank - 1]);
  context.outputs[0] = {x.dtype, tensor::Shape(x.shape.begin(), x.shape.end() - 2), std::nullopt};
}

// Of the n x n matrix at `a`, which is used up.
double determinant(double* a, int64_t n) {
  double result = 1;
  for (int64_t k = 0; k < n; ++k) {
    int64_t pivot = k;
    for (int64_t i = k + 1; i < n; ++i) {
      if (std::abs(a[i * n + k]) > std::abs(a[pivot * n + k])) pivot = i;
    }
    if (a[pivot * n + k] == 0) return 0;
    if (pivot != k) {
      std::swap_ranges(a + k * n, a + (k + 1) * n, a + pivot * n);
      result = -result;
    }
    result *= a[k * n + k];
    for (int64_t i = k + 1; i < n; ++i) {
      const double factor = a[i * n + k] / a[k * n + k];
      for (int64_t j = k; j < n; ++j) a[i * n + j] -= factor * a[k * n + j];
    }
  }
  return result;
}

void evaluate_det(EvaluateContext& context) {
  const tensor::Tensor& x = context.inputs[0];
  const int64_t n = x.dims().back();
  const tensor::Dims dims(x.dims().begin(), x.dims().end() - 2);
  std::vector<double> values = load<double>(x);
  std::vector<double> results(size_t(tensor::element_count(std::span(dims))));
  for (size_t i = 0; i < results.size(); ++i) results[i] = determinant(values.data() + int64_t(i) * n * n, n);
  context.outputs[0] = store(x.dtype(), dims, results);
}

}  // namespace

const OpDef& det_op() {
  static const OpDef def{.name = "Det", .min_inputs = 1, .max_inputs = 1, .infer = infer_det, .evaluate = evaluate_det};
  return def;
}

}  // namespace lathe::op
