#include "pipeline/generate/vocabulary_scan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

namespace lathe::pipeline {
namespace {

constexpr size_t kLanes = 8;

// exp(x) for x <= 0: 2^n times a Taylor polynomial of degree 6 on [-ln2/2, ln2/2], whose error is below
// 0.35^7 / 7! = 1.3e-7. ln2 is subtracted in two parts, of which the first has few bits (Cody and Waite).
inline float exp_of_negative(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  constexpr float kLowest = -87.0f;      // below, the result is no normal number
  const float clamped = x < kLowest ? kLowest : x;
  const float n = (clamped * 1.44269504f + kRound) - kRound;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const float power = std::bit_cast<float>((int32_t(n) + 127) << 23);
  return x < kLowest ? 0.0f : p * power;
}

}  // namespace

void block_maxima(std::span<const float> values, std::vector<float>& maxima) {
  maxima.resize((values.size() + kScanBlock - 1) / kScanBlock);
  const size_t whole = values.size() / kScanBlock;
  for (size_t b = 0; b < whole; ++b) {
    const float* block = values.data() + b * kScanBlock;
    float lanes[kLanes];
    for (size_t i = 0; i < kLanes; ++i) lanes[i] = block[i];
    for (size_t j = kLanes; j < kScanBlock; j += kLanes) {
      for (size_t i = 0; i < kLanes; ++i) lanes[i] = block[j + i] > lanes[i] ? block[j + i] : lanes[i];
    }
    maxima[b] = *std::max_element(lanes, lanes + kLanes);
  }
  if (whole < maxima.size())
    maxima[whole] = *std::max_element(values.begin() + whole * kScanBlock, values.end());
}

int64_t argmax(std::span<const float> values, std::vector<float>& maxima) {
  block_maxima(values, maxima);
  const size_t block = size_t(std::max_element(maxima.begin(), maxima.end()) - maxima.begin());
  const auto first = values.begin() + block * kScanBlock;
  return std::find(first, values.end(), maxima[block]) - values.begin();
}

float kth_largest(std::span<const float> values, std::span<const float> maxima, size_t k,
                  std::vector<float>& scratch) {
  float bound = -std::numeric_limits<float>::infinity();
  if (k <= maxima.size()) {
    scratch.assign(maxima.begin(), maxima.end());
    std::nth_element(scratch.begin(), scratch.begin() + (k - 1), scratch.end(), std::greater<>());
    bound = scratch[k - 1];
  }
  scratch.clear();
  for (size_t b = 0; b < maxima.size(); ++b) {
    if (maxima[b] < bound) continue;
    const size_t end = std::min(values.size(), (b + 1) * kScanBlock);
    for (size_t i = b * kScanBlock; i < end; ++i) {
      if (values[i] >= bound) scratch.push_back(values[i]);
    }
  }
  std::nth_element(scratch.begin(), scratch.begin() + (k - 1), scratch.end(), std::greater<>());
  return scratch[k - 1];
}

float softmax_weight(float value, float largest, float scale) {
  return exp_of_negative((value - largest) * scale);
}

double softmax_weights(std::span<const float> values, float largest, float scale,
                       std::vector<float>& weights) {
  weights.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) weights[i] = exp_of_negative((values[i] - largest) * scale);
  double lanes[kLanes] = {};
  const size_t whole = weights.size() / kLanes * kLanes;
  for (size_t j = 0; j < whole; j += kLanes) {
    for (size_t i = 0; i < kLanes; ++i) lanes[i] += double(weights[j + i]);
  }
  double sum = 0;
  for (size_t i = whole; i < weights.size(); ++i) sum += double(weights[i]);
  for (const double lane : lanes) sum += lane;
  return sum;
}

double log_sum_exp(std::span<const float> values, std::vector<float>& maxima, std::vector<float>& weights) {
  block_maxima(values, maxima);
  const float largest = *std::max_element(maxima.begin(), maxima.end());
  return double(largest) + std::log(softmax_weights(values, largest, 1.0f, weights));
}

}  // namespace lathe::pipeline
