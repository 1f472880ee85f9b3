#include "backend/cpu/conv_finish.h"

#include <limits>

namespace lathe::backend::cpu {

ConvEpilogue conv_epilogue(const Problem& problem) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  ConvEpilogue epilogue{.low = -kInfinity, .high = kInfinity, .activation = {}};
  epilogue.residual_last = problem.attributes().get_int("residual_last", 0) != 0 && problem.has_input(kConvResidual);
  const auto text = problem.attributes().find_string("activation");
  if (!text) return epilogue;
  const op::PointwiseStep step = op::parse_step(*text, 1);
  if (step.op == "Relu" && !epilogue.residual_last) {
    epilogue.low = 0;
  } else if (step.op == "Clip" && !epilogue.residual_last) {
    epilogue.low = float(step.arguments[1].number);
    epilogue.high = float(step.arguments[2].number);
  } else {
    epilogue.has_activation = true;
    epilogue.activation = compile_step(step, Isa(problem.isa));
  }
  return epilogue;
}

void activate(const ConvEpilogue& epilogue, float* values, int64_t count) noexcept {
  const PointwiseInstruction& step = epilogue.activation;
  step.function({.a = values, .a_step = 1, .b = nullptr, .b_step = 0, .p = step.p, .q = step.q, .count = count,
                 .y = values});
}

void finish_rows(const GraphCall& call, const ConvTier& tier, const ConvEpilogue& epilogue,
                 const ConvRows& rows) noexcept {
  const int64_t at = rows.row * rows.pitch + rows.feature;
  const float* bias = call.input(kConvBias);
  const float* residual = call.input(kConvResidual);
  FinishTileCall last{.sums = rows.sums,
                      .row_count = rows.count,
                      .sum_stride = rows.sum_stride,
                      .features = rows.features,
                      .bias = bias ? bias + rows.feature : nullptr,
                      .residual = residual ? residual + at : nullptr,
                      .y = call.output() + at,
                      .stride = rows.pitch,
                      .low = epilogue.low,
                      .high = epilogue.high};
  if (!epilogue.has_activation) return tier.finish(last);
  // In two steps: what is inside the activation stays in the sums.
  FinishTileCall inner = last;
  inner.y = rows.sums;
  inner.stride = rows.sum_stride;
  inner.residual = nullptr;
  if (residual && !epilogue.residual_last) {  // which has a stride of its own
    inner.row_count = 1;
    for (int64_t r = 0; r < rows.count; ++r) {
      inner.sums = inner.y = rows.sums + r * rows.sum_stride;
      inner.residual = last.residual + r * rows.pitch;
      tier.finish(inner);
    }
  } else if (inner.bias) {
    tier.finish(inner);
  }
  activate(epilogue, rows.sums, (rows.count - 1) * rows.sum_stride + rows.features);
  last.bias = nullptr;
  if (!epilogue.residual_last) last.residual = nullptr;
  tier.finish(last);
}

}  // namespace lathe::backend::cpu
