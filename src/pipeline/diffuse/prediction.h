// From what a model predicts to the clean sample, in float32 and in diffusers' order of operations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "contract/scheduler.h"

namespace lathe::pipeline {

using contract::PredictionType;

// sample = signal * clean + noise * epsilon. `output` is the model's; all spans have one size.
std::vector<float> predict_clean(PredictionType type, float signal, float noise, std::span<const float> sample,
                                 std::span<const float> output);
std::vector<float> predict_epsilon(PredictionType type, float signal, float noise, std::span<const float> sample,
                                   std::span<const float> output);
// The same for sample = clean + sigma * epsilon.
std::vector<float> predict_clean_at(PredictionType type, float sigma, std::span<const float> sample,
                                    std::span<const float> output);

void clip(std::span<float> clean, double range);
// Dynamic thresholding (arXiv 2205.11487): each picture of the batch is clipped to the quantile of its magnitudes,
// between 1 and `largest`, and divided by it.
void threshold(std::span<float> clean, int64_t batch, double ratio, double largest);

// A term of a sum over samples.
struct Term {
  float factor;
  std::span<const float> values;
};
// result[i] = the sum of factor * values[i], from the left.
void sum_terms(std::initializer_list<Term> terms, std::span<float> result);
// factor * (a - b)
std::vector<float> scaled_difference(float factor, std::span<const float> a, std::span<const float> b);

}  // namespace lathe::pipeline
