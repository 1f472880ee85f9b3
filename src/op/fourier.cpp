#include "op/fourier.h"

#include <cstdint>
#include <numbers>

namespace lathe::op {

std::vector<std::complex<double>> unit_roots(int64_t length, bool inverse) {
  std::vector<std::complex<double>> roots(static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) {
    const double angle = 2 * std::numbers::pi * double(i) / double(length);
    roots[size_t(i)] = std::polar(1.0, inverse ? angle : -angle);
  }
  return roots;
}

std::vector<std::complex<double>> transform(const std::vector<std::complex<double>>& x,
                                            const std::vector<std::complex<double>>& roots, int64_t count) {
  const size_t length = roots.size();
  std::vector<std::complex<double>> result(static_cast<size_t>(count));
  for (size_t k = 0; k < result.size(); ++k) {
    size_t power = 0;  // k n modulo the length, which needs no product that could overflow
    double real = 0, imaginary = 0;
    for (size_t n = 0; n < length; ++n) {
      real += x[n].real() * roots[power].real() - x[n].imag() * roots[power].imag();
      imaginary += x[n].real() * roots[power].imag() + x[n].imag() * roots[power].real();
      power += k;
      if (power >= length) power -= length;
    }
    result[k] = {real, imaginary};
  }
  return result;
}

}  // namespace lathe::op
