#include "pipeline/diffuse/numeric.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

// The continued fraction of the incomplete beta function (NIST DLMF 8.17.22), by Lentz's method.
double beta_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  constexpr int kMostTerms = 400;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double result = d;
  for (int m = 1; m < kMostTerms; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      if (std::abs(c) < kTiny) c = kTiny;
      change = c * d;
      result *= change;
    }
    if (std::abs(change - 1) < 1e-16) break;
  }
  return result;
}

// I_x(a, a) for x up to a half, where the fraction converges fast.
double lower_beta(double x, double a) {
  if (x <= 0) return 0;
  const double log_beta = 2 * std::lgamma(a) - std::lgamma(2 * a);
  return std::exp(a * std::log(x) + a * std::log1p(-x) - log_beta) / a * beta_fraction(x, a, a);
}

}  // namespace

std::vector<double> linspace(double start, double stop, size_t count) {
  std::vector<double> values(count, start);
  if (count < 2) return values;
  const double step = (stop - start) / double(count - 1);
  for (size_t i = 0; i < count; ++i) values[i] = double(i) * step + start;
  values.back() = stop;
  return values;
}

std::vector<float> linspace_float(double start, double stop, size_t count) {
  std::vector<float> values(count, float(start));
  if (count < 2) return values;
  const float first = float(start), last = float(stop);
  const float step = (last - first) / float(count - 1);
  for (size_t i = 0; i < count; ++i) {
    values[i] = i < count / 2 ? std::fma(step, float(i), first) : std::fma(-step, float(count - i - 1), last);
  }
  return values;
}

std::vector<double> arange_down(double start, double step) {
  const auto count = size_t(std::ceil(start / step));
  const double delta = (start - step) - start;
  std::vector<double> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = start + double(i) * delta;
  return values;
}

double interpolate(double at, std::span<const float> table) {
  if (at <= 0) return double(table.front());
  if (at >= double(table.size() - 1)) return double(table.back());
  const auto low = size_t(at);
  const double slope = double(table[low + 1]) - double(table[low]);
  return slope * (at - double(low)) + double(table[low]);
}

float numpy_log(float x) {
  if (!(x > 0)) return x == 0 ? -std::numeric_limits<float>::infinity() : std::numeric_limits<float>::quiet_NaN();
  if (std::isinf(x)) return x;
  // Coefficients of log(1 + m) = P(m) / Q(m), highest power first.
  constexpr float kP[] = {2.589979117907922693523e-02f, 3.808837741388407920751e-01f, 1.480000633576506585156e+00f,
                          2.112677543073053063722e+00f, 9.999999999999998702752e-01f, 0.0f};
  constexpr float kQ[] = {5.875095403124574342950e-03f, 1.546476374983906719538e-01f, 9.864942958519418960339e-01f,
                          2.453006071784736363091e+00f, 2.612677543073109236779e+00f, 1.0f};
  int binary = 0;
  float m = std::frexp(x, &binary);  // 0.5 to 1
  auto exponent = float(binary);
  if (m <= 0.70710678118654752440f) {
    m += m;
    exponent -= 1;
  }
  m -= 1;
  float p = kP[0], q = kQ[0];
  for (size_t i = 1; i < std::size(kP); ++i) {
    p = std::fma(p, m, kP[i]);
    q = std::fma(q, m, kQ[i]);
  }
  return std::fma(exponent, 0.693147180559945309f, p / q);
}

float middle(float a, float b) {
  return b - (b - a) * 0.5f;
}

double beta_quantile(double p, double a) {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  if (p > 0.5) return 1 - beta_quantile(1 - p, a);
  double low = 0, high = 0.5;
  // Halving until the interval is one number wide: exact to the last places, and called for a few hundred numbers.
  for (int i = 0; i < 200; ++i) {
    const double half = low + (high - low) / 2;
    if (half == low || half == high) break;
    (lower_beta(half, a) < p ? low : high) = half;
  }
  return high;
}

std::vector<float> solve(std::vector<double> matrix, std::vector<double> right) {
  const size_t n = right.size();
  LATHE_CHECK(matrix.size() == n * n, "{} numbers for {} rows", matrix.size(), n);
  const auto at = [&](size_t row, size_t column) -> double& { return matrix[row * n + column]; };
  for (size_t k = 0; k < n; ++k) {
    size_t pivot = k;
    for (size_t row = k + 1; row < n; ++row) {
      if (std::abs(at(row, k)) > std::abs(at(pivot, k))) pivot = row;
    }
    for (size_t column = 0; column < n; ++column) std::swap(at(k, column), at(pivot, column));
    std::swap(right[k], right[pivot]);
    for (size_t row = k + 1; row < n; ++row) {
      const double factor = at(row, k) / at(k, k);
      for (size_t column = k; column < n; ++column) at(row, column) -= factor * at(k, column);
      right[row] -= factor * right[k];
    }
  }
  std::vector<float> x(n);
  for (size_t k = n; k-- > 0;) {
    double value = right[k];
    for (size_t column = k + 1; column < n; ++column) value -= at(k, column) * right[column];
    right[k] = value / at(k, k);
    x[k] = float(right[k]);
  }
  return x;
}

}  // namespace lathe::pipeline
