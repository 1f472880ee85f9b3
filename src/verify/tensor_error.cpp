#include "verify/tensor_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "op/bindings.h"
#include "verify/bands.h"

namespace lathe::verify {
namespace {

using tensor::DType;
using tensor::Tensor;

bool is_complex(DType dtype) { return dtype == DType::c64 || dtype == DType::c128; }

// 0: the same. Infinite: a number against none.
double distance(double expected, double found) {
  if (expected == found || (std::isnan(expected) && std::isnan(found))) return 0;
  const double away = std::abs(found - expected);
  return std::isnan(away) ? INFINITY : away;
}

// The elements as numbers; complex ones as pairs.
class Reader {
 public:
  explicit Reader(const Tensor& tensor) : tensor_(tensor) {}
  double operator[](int64_t i) const {
    switch (tensor_.dtype()) {
      case DType::f32:
      case DType::c64:
        return tensor_.data<float>()[size_t(i)];
      case DType::c128:
        return tensor_.data<double>()[size_t(i)];
      default:
        return element_as_double(tensor_, i);
    }
  }

 private:
  const Tensor& tensor_;
};

std::vector<int64_t> unravel(int64_t flat, const tensor::Dims& dims) {
  std::vector<int64_t> index(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    index[i] = flat % dims[i];
    flat /= dims[i];
  }
  return index;
}

void compare_texts(const Tensor& expected, const Tensor& found, TensorError& error) {
  for (int64_t i = 0; i < expected.size(); ++i) {
    if (expected.strings()[size_t(i)] == found.strings()[size_t(i)]) continue;
    if (error.differing++ == 0) error.index = unravel(i, expected.dims());
    error.max_abs = 1;
  }
}

void compare_numbers(const Tensor& expected, const Tensor& found, TensorError& error) {
  const int64_t parts = is_complex(expected.dtype()) ? 2 : 1;
  const Reader e(expected), f(found);
  int64_t at = -1;
  for (int64_t i = 0; i < parts * expected.size(); ++i) {
    const double a = e[i], b = f[i];
    if (std::isfinite(a)) {
      error.scale = std::max(error.scale, std::abs(a));
    } else {
      ++error.not_finite;
    }
    const double away = distance(a, b);
    if (away == 0) continue;
    ++error.differing;
    if (away <= error.max_abs) continue;
    error.max_abs = away;
    at = i;
  }
  if (at < 0) return;
  error.index = unravel(at / parts, expected.dims());
  error.expected = e[at];
  error.found = f[at];
}

}  // namespace

double TensorError::relative() const { return max_abs / std::max(scale, kFloor); }

bool TensorError::within(double bound) const {
  return form.empty() && (exact ? differing == 0 : relative() <= bound);
}

TensorError error_of(const Tensor& expected, const Tensor& found) {
  TensorError error;
  error.size = expected.size();
  const bool floats = tensor::is_float(expected.dtype()) && tensor::is_float(found.dtype());
  if ((expected.dtype() != found.dtype() && !floats) || expected.dims() != found.dims()) {
    error.form = fmt::format("expected {}, found {}", op::describe(expected), op::describe(found));
    return error;
  }
  error.exact = !floats && !is_complex(expected.dtype());
  if (expected.dtype() == DType::string) {
    compare_texts(expected, found, error);
    return error;
  }
  compare_numbers(expected, found, error);
  // As doubles, 2^62 and 2^62 + 1 are the same.
  const auto a = expected.bytes(), b = found.bytes();
  if (error.exact && error.differing == 0 && !a.empty() && std::memcmp(a.data(), b.data(), a.size()) != 0) {
    error.differing = 1;
    error.max_abs = 1;
  }
  return error;
}

TensorError error_of(const op::Datum& expected, const op::Datum& found) {
  if (expected.is_tensor() && found.is_tensor()) return error_of(expected.tensor(), found.tensor());
  TensorError worst;
  if (expected.defined() != found.defined() || expected.is_sequence() != found.is_sequence() ||
      (expected.is_sequence() && expected.items().size() != found.items().size())) {
    worst.form = fmt::format("expected {}, found {}", op::describe(expected), op::describe(found));
    return worst;
  }
  for (size_t i = 0; expected.is_sequence() && i < expected.items().size(); ++i) {
    TensorError error = error_of(expected.items()[i], found.items()[i]);
    if (!error.form.empty()) {
      error.form = fmt::format("item {}: {}", i, error.form);
      return error;
    }
    if (i == 0 || error.relative() > worst.relative()) worst = std::move(error);
  }
  return worst;
}

}  // namespace lathe::verify
