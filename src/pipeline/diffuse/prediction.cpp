#include "pipeline/diffuse/prediction.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace lathe::pipeline {

std::vector<float> predict_clean(PredictionType type, float signal, float noise, std::span<const float> sample,
                                 std::span<const float> output) {
  std::vector<float> clean(output.begin(), output.end());
  if (type == PredictionType::epsilon) {
    for (size_t i = 0; i < clean.size(); ++i) clean[i] = (sample[i] - noise * output[i]) / signal;
  } else if (type == PredictionType::v_prediction) {
    for (size_t i = 0; i < clean.size(); ++i) clean[i] = signal * sample[i] - noise * output[i];
  }
  return clean;
}

std::vector<float> predict_epsilon(PredictionType type, float signal, float noise, std::span<const float> sample,
                                   std::span<const float> output) {
  std::vector<float> epsilon(output.begin(), output.end());
  if (type == PredictionType::sample) {
    for (size_t i = 0; i < epsilon.size(); ++i) epsilon[i] = (sample[i] - signal * output[i]) / noise;
  } else if (type == PredictionType::v_prediction) {
    for (size_t i = 0; i < epsilon.size(); ++i) epsilon[i] = signal * output[i] + noise * sample[i];
  }
  return epsilon;
}

std::vector<float> predict_clean_at(PredictionType type, float sigma, std::span<const float> sample,
                                    std::span<const float> output) {
  std::vector<float> clean(output.begin(), output.end());
  if (type == PredictionType::epsilon) {
    for (size_t i = 0; i < clean.size(); ++i) clean[i] = sample[i] - sigma * output[i];
  } else if (type == PredictionType::v_prediction) {
    const float square = sigma * sigma + 1.0f;
    const float factor = -sigma / std::sqrt(square);
    for (size_t i = 0; i < clean.size(); ++i) clean[i] = output[i] * factor + sample[i] / square;
  }
  return clean;
}

void clip(std::span<float> clean, double range) {
  const auto limit = float(range);
  for (float& x : clean) x = std::clamp(x, -limit, limit);
}

void threshold(std::span<float> clean, int64_t batch, double ratio, double largest) {
  LATHE_CHECK(clean.size() % size_t(batch) == 0 && !clean.empty(), "{} values, batch {}", clean.size(), batch);
  const size_t size = clean.size() / size_t(batch);
  std::vector<float> magnitudes(size);
  for (size_t start = 0; start < clean.size(); start += size) {
    const std::span<float> picture = clean.subspan(start, size);
    for (size_t i = 0; i < size; ++i) magnitudes[i] = std::abs(picture[i]);
    // torch.quantile: between the two neighbours of the rank, which is rounded to float32.
    const float rank = float(ratio) * float(size - 1);
    const auto below = size_t(std::floor(rank)), above = size_t(std::ceil(rank));
    std::ranges::sort(magnitudes);
    const float low = magnitudes[below], high = magnitudes[above], weight = rank - float(below);
    const float quantile = weight < 0.5f ? low + weight * (high - low) : high - (high - low) * (1.0f - weight);
    const float limit = std::min(std::max(quantile, 1.0f), float(largest));
    for (float& x : picture) x = std::clamp(x, -limit, limit) / limit;
  }
}

void sum_terms(std::initializer_list<Term> terms, std::span<float> result) {
  for (size_t i = 0; i < result.size(); ++i) {
    const Term* term = terms.begin();
    float sum = term->factor * term->values[i];
    for (++term; term != terms.end(); ++term) sum += term->factor * term->values[i];
    result[i] = sum;
  }
}

std::vector<float> scaled_difference(float factor, std::span<const float> a, std::span<const float> b) {
  std::vector<float> result(a.size());
  for (size_t i = 0; i < a.size(); ++i) result[i] = factor * (a[i] - b[i]);
  return result;
}

}  // namespace lathe::pipeline
