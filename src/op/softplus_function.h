// ln(1 + e^x) without overflow.
#pragma once

#include <algorithm>
#include <cmath>

namespace lathe::op {

inline double softplus(double x) {
  return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x)));
}

}  // namespace lathe::op
