// What follows the sums of a convolution: bias, residual, activation.
#pragma once

#include "backend/cpu/conv.h"
#include "backend/cpu/pointwise_program.h"
#include "backend/graph_kernel.h"

namespace lathe::backend::cpu {

// Inputs of lathe.Conv, see op/lathe_conv.cpp.
constexpr size_t kConvX = 0, kConvWeights = 1, kConvBias = 2, kConvResidual = 3;

struct ConvEpilogue {
  float low, high;  // a clamp, after the residual
  bool has_activation = false;  // one that is no clamp
  bool residual_last = false;   // added behind the activation
  PointwiseInstruction activation;
};
ConvEpilogue conv_epilogue(const Problem& problem);
// The activation alone, in place.
void activate(const ConvEpilogue& epilogue, float* values, int64_t count) noexcept;

// Rows of sums (may be overwritten) of features [feature, feature + features), for output positions [row, row + count);
// residual and y have `pitch` features a position.
struct ConvRows {
  float* sums;
  int64_t sum_stride;
  int64_t count;
  int64_t row;
  int64_t feature, features;
  int64_t pitch;
};
void finish_rows(const GraphCall& call, const ConvTier& tier, const ConvEpilogue& epilogue, const ConvRows& rows) noexcept;

}  // namespace lathe::backend::cpu
