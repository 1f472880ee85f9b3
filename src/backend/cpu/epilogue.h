// What follows the sums of a convolution or a product: bias, residual, activation.
#pragma once

#include <limits>
#include <string_view>

#include "backend/cpu/conv.h"
#include "backend/cpu/pointwise_program.h"

namespace lathe::backend::cpu {

// clamp(activation(sums + bias + residual)), or activation(sums + bias) + residual.
struct Epilogue {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
  bool has_activation = false;  // one that is no clamp
  bool residual_last = false;
  PointwiseInstruction activation;
};
// `activation` is a step of one value (op/pointwise.h), or empty.
Epilogue make_epilogue(std::string_view activation, bool residual_last, Isa isa);
// The activation alone, in place.
void activate(const Epilogue& epilogue, float* values, int64_t count) noexcept;

// Rows of sums, which may be overwritten, to rows of y.
struct EpilogueRows {
  float* sums;
  int64_t sum_stride;
  int64_t count;
  int64_t features;  // of a row
  const float* bias;  // [features] or null
  const float* residual;  // as y, or null
  float* y;
  int64_t pitch;  // from one row of residual and y to the next
};
void finish_rows(const ConvTier& tier, const Epilogue& epilogue, const EpilogueRows& rows) noexcept;

}  // namespace lathe::backend::cpu
