#include "op/lines.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lathe::op {

void softmax_line(std::vector<double>& values, const Line& line, bool masked_to_zero) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double largest = -kInfinity;
  for (int64_t j = 0; j < line.count; ++j) largest = std::max(largest, values[size_t(line.at(j))]);
  if (largest == -kInfinity && masked_to_zero) largest = 0;
  double sum = 0;
  for (int64_t j = 0; j < line.count; ++j) {
    double& value = values[size_t(line.at(j))];
    value = std::exp(value - largest);
    sum += value;
  }
  if (sum == 0 && masked_to_zero) sum = 1;
  for (int64_t j = 0; j < line.count; ++j) values[size_t(line.at(j))] /= sum;
}

}  // namespace lathe::op
