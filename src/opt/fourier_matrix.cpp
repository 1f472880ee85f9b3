#include "opt/fourier_matrix.h"

#include <algorithm>
#include <complex>
#include <vector>

#include "op/fourier.h"

namespace lathe::opt {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 23;
constexpr int64_t kMaxLength = int64_t{1} << 20;

// How often number j of half a spectrum stands in the whole one.
double share(const FourierForm& form, int64_t j) {
  if (!form.inverse) return 1;
  const bool alone = j == 0 || 2 * j == form.length;
  return (form.one_sided && !alone ? 2.0 : 1.0) / double(form.length);
}

}  // namespace

int64_t FourierForm::read() const {
  return std::min(given, one_sided && inverse ? length / 2 + 1 : length);
}
int64_t FourierForm::count() const {
  return one_sided && !inverse ? length / 2 + 1 : length;
}
int64_t FourierForm::result_parts() const {
  return one_sided && inverse ? 1 : 2;
}

std::optional<tensor::Tensor> fourier_matrix(const FourierForm& form, std::span<const double> window) {
  if (form.length < 1 || form.length > kMaxLength || form.read() < 1) return std::nullopt;
  const int64_t rows = form.read() * form.parts, columns = form.count() * form.result_parts();
  if (rows > kMaxElements / columns) return std::nullopt;
  const std::vector<std::complex<double>> roots = op::unit_roots(form.length, form.inverse);
  tensor::Tensor matrix(tensor::DType::f32, {rows, columns});
  float* out = matrix.data<float>().data();
  for (int64_t j = 0; j < form.read(); ++j) {
    const double factor = share(form, j) * (window.empty() ? 1 : window[size_t(j)]);
    for (int64_t part = 0; part < form.parts; ++part) {
      for (int64_t k = 0; k < form.count(); ++k) {
        // x times the root, of x = 1 and of x = i.
        const std::complex<double> root = roots[size_t(j * k % form.length)] * factor;
        const std::complex<double> moved = part == 0 ? root : std::complex<double>(-root.imag(), root.real());
        *out++ = float(moved.real());
        if (form.result_parts() == 2) *out++ = float(moved.imag());
      }
    }
  }
  return matrix;
}

}  // namespace lathe::opt
