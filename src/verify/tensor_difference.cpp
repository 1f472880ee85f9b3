#include "verify/tensor_difference.h"

#include <fmt/format.h>

#include <cmath>
#include <complex>
#include <vector>

#include "op/values.h"

namespace lathe::verify {
namespace {

using tensor::DType;
using tensor::Tensor;

// How far `found` lies beyond what the tolerance allows; 0 when it does not.
double excess(double expected, double found, const Tolerance& tolerance) {
  if (std::isnan(expected) || std::isnan(found)) return std::isnan(expected) == std::isnan(found) ? 0 : INFINITY;
  if (expected == found) return 0;
  if (std::isinf(expected) || std::isinf(found)) return INFINITY;
  const double error = std::abs(found - expected);
  return error <= tolerance.atol + tolerance.rtol * std::abs(expected) ? 0 : error;
}
double excess(std::complex<double> expected, std::complex<double> found, const Tolerance& tolerance) {
  const double error = std::abs(found - expected);
  if (std::isnan(error)) return INFINITY;
  return error <= tolerance.atol + tolerance.rtol * std::abs(expected) ? 0 : error;
}
// Integers are subtracted as integers: as doubles, 2^62 and 2^62 + 1 are the same.
template <class V>
double excess_of_integers(V expected, V found, const Tolerance& tolerance) {
  if (expected == found) return 0;
  const uint64_t distance =
      expected > found ? uint64_t(expected) - uint64_t(found) : uint64_t(found) - uint64_t(expected);
  const double error = double(distance);
  return error <= tolerance.atol + tolerance.rtol * std::abs(double(expected)) ? 0 : error;
}

std::string text(std::complex<double> value) {
  return fmt::format("{}{:+}i", value.real(), value.imag());
}
template <class V>
std::string text(V value) {
  return fmt::format("{}", value);
}

template <class V, class Excess>
std::optional<std::string> worst(const std::vector<V>& expected, const std::vector<V>& found, Excess&& excess_of) {
  size_t at = 0, count = 0;
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double by = excess_of(expected[i], found[i]);
    if (by == 0) continue;
    ++count;
    if (by > largest) {
      largest = by;
      at = i;
    }
  }
  if (count == 0) return std::nullopt;
  return fmt::format("element {}: expected {}, found {} ({} of {} differ)", at, text(expected[at]), text(found[at]),
                     count, expected.size());
}

template <class Part>
std::vector<std::complex<double>> complex_values(const Tensor& tensor) {
  const auto parts = tensor.data<Part>();
  std::vector<std::complex<double>> values;
  for (size_t i = 0; i + 1 < parts.size(); i += 2) values.emplace_back(parts[i], parts[i + 1]);
  return values;
}

std::optional<std::string> string_difference(const Tensor& expected, const Tensor& found) {
  for (size_t i = 0; i < expected.strings().size(); ++i) {
    if (expected.strings()[i] == found.strings()[i]) continue;
    return fmt::format("element {}: expected \"{}\", found \"{}\"", i, expected.strings()[i], found.strings()[i]);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_difference(const Tensor& expected, const Tensor& found, const Tolerance& tolerance) {
  if (expected.dtype() != found.dtype() || expected.dims() != found.dims()) {
    return fmt::format("expected {}{}, found {}{}", to_string(expected.dtype()),
                       tensor::to_string(std::span(expected.dims())), to_string(found.dtype()),
                       tensor::to_string(std::span(found.dims())));
  }
  const DType dtype = expected.dtype();
  if (dtype == DType::string) return string_difference(expected, found);
  if (dtype == DType::c64 || dtype == DType::c128) {
    const auto values = [&](const Tensor& tensor) {
      return dtype == DType::c64 ? complex_values<float>(tensor) : complex_values<double>(tensor);
    };
    return worst(values(expected), values(found), [&](auto e, auto f) { return excess(e, f, tolerance); });
  }
  return op::with_compute_type(dtype, [&](auto zero) {
    using V = decltype(zero);
    return worst(op::load<V>(expected), op::load<V>(found), [&](V e, V f) {
      if constexpr (std::is_same_v<V, double>) {
        return excess(e, f, tolerance);
      } else {
        return excess_of_integers(e, f, tolerance);
      }
    });
  });
}

}  // namespace lathe::verify
