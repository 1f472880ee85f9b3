// Reading tensors between their elements: along each axis some elements with weights, multiplied over the axes.
#pragma once

#include <cstdint>
#include <vector>

namespace lathe::op {

// An element and its share of a sample.
struct WeightedTap {
  int64_t at;  // index along an axis, or row-major offset over several
  double weight;
};

// Multiplies a sample over some axes with one along a further axis of this length (the next inner one).
void extend_taps(std::vector<WeightedTap>& taps, const std::vector<WeightedTap>& axis, int64_t length);

// The two elements around x, those outside of [0, length) left out: the sample is as if zeros lay there. NaN: none.
std::vector<WeightedTap> linear_taps_or_zero(double x, int64_t length);

// Weight of an element at distance d: 1 - |d|, or cubic convolution with coefficient a (-0.5 or -0.75).
double linear_weight(double d);
double cubic_weight(double d, double a);

template <class V>
double weighted_sum(const V* values, const std::vector<WeightedTap>& taps) {
  double sum = 0;
  for (const WeightedTap& tap : taps) sum += tap.weight * double(values[tap.at]);
  return sum;
}

}  // namespace lathe::op
