// The epilogue of lathe.Conv, and its operands at an output position.
#pragma once

#include "backend/cpu/epilogue.h"
#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// Inputs of lathe.Conv, see op/lathe_conv.cpp.
constexpr size_t kConvX = 0, kConvWeights = 1, kConvBias = 2, kConvResidual = 3;

inline Epilogue conv_epilogue(const Problem& problem) {
  const op::Attributes& attributes = problem.attributes();
  const bool last = attributes.get_int("residual_last", 0) != 0 && problem.has_input(kConvResidual);
  return make_epilogue(attributes.get_string("activation", ""), last, Isa(problem.isa));
}

// Sums of `features` features from `feature` on, for `count` output positions from `row` on; `pitch` features in all.
inline EpilogueRows conv_rows(const GraphCall& call, float* sums, int64_t sum_stride, int64_t row, int64_t count,
                              int64_t feature, int64_t features, int64_t pitch) noexcept {
  const int64_t at = row * pitch + feature;
  const float* bias = call.input(kConvBias);
  const float* residual = call.input(kConvResidual);
  return {.sums = sums,
          .sum_stride = sum_stride,
          .count = count,
          .features = features,
          .bias = bias ? bias + feature : nullptr,
          .residual = residual ? residual + at : nullptr,
          .y = call.output() + at,
          .pitch = pitch};
}

}  // namespace lathe::backend::cpu
