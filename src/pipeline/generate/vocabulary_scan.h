// Passes over the logits of a whole vocabulary, written so that compilers turn them into vector code.
//
// Values must not be NaN. Results are the same on every machine: no libm, no reordering by the compiler.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lathe::pipeline {

inline constexpr size_t kScanBlock = 32;  // values that share a maximum

// The largest value of each block of kScanBlock values; the last block may be shorter.
void block_maxima(std::span<const float> values, std::vector<float>& maxima);

// The lowest index of the largest value. `maxima` is scratch. `values` must not be empty.
int64_t argmax(std::span<const float> values, std::vector<float>& maxima);

// The k-th largest value (k from 1 to the number of values). `maxima` are those of block_maxima(); few values
// are looked at twice, as the k-th largest block maximum is a lower bound. `scratch` is overwritten.
float kth_largest(std::span<const float> values, std::span<const float> maxima, size_t k,
                  std::vector<float>& scratch);

// exp((value - largest) * scale), relative error below 3e-7, 0 where that is below 1.6e-38.
// `largest` is the largest value, `scale` is positive.
float softmax_weight(float value, float largest, float scale);
// The same for all values; returns their sum.
double softmax_weights(std::span<const float> values, float largest, float scale,
                       std::vector<float>& weights);

// log(sum(exp(values))). `maxima` and `weights` are scratch.
double log_sum_exp(std::span<const float> values, std::vector<float>& maxima, std::vector<float>& weights);

}  // namespace lathe::pipeline
