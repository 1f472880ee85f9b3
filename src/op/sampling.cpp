#include "op/sampling.h"

#include <cmath>

namespace lathe::op {

void extend_taps(std::vector<WeightedTap>& taps, const std::vector<WeightedTap>& axis, int64_t length) {
  std::vector<WeightedTap> product;
  product.reserve(taps.size() * axis.size());
  for (const WeightedTap& outer : taps) {
    for (const WeightedTap& inner : axis)
      product.push_back({outer.at * length + inner.at, outer.weight * inner.weight});
  }
  taps.swap(product);
}

std::vector<WeightedTap> linear_taps_or_zero(double x, int64_t length) {
  std::vector<WeightedTap> taps;
  if (!(x > -1 && x < double(length))) return taps;
  const double floor = std::floor(x);
  const int64_t first = int64_t(floor);
  if (first >= 0) taps.push_back({first, 1 - (x - floor)});
  if (first + 1 < length) taps.push_back({first + 1, x - floor});
  return taps;
}

double linear_weight(double d) {
  d = std::abs(d);
  return d < 1 ? 1 - d : 0;
}

double cubic_weight(double d, double a) {
  d = std::abs(d);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  if (d < 2) return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  return 0;
}

}  // namespace lathe::op
