#include "backend/cpu/epilogue.h"

namespace lathe::backend::cpu {

Epilogue make_epilogue(std::string_view activation, bool residual_last, Isa isa) {
  Epilogue epilogue;
  epilogue.residual_last = residual_last;
  if (activation.empty()) return epilogue;
  const op::PointwiseStep step = op::parse_step(activation, 1);
  if (step.op == "Relu" && !residual_last) {
    epilogue.low = 0;
  } else if (step.op == "Clip" && !residual_last) {
    epilogue.low = float(step.arguments[1].number);
    epilogue.high = float(step.arguments[2].number);
  } else {
    epilogue.has_activation = true;
    epilogue.activation = compile_step(step, isa);
  }
  return epilogue;
}

void activate(const Epilogue& epilogue, float* values, int64_t count) noexcept {
  const PointwiseInstruction& step = epilogue.activation;
  step.function({.a = values, .a_step = 1, .b = nullptr, .b_step = 0, .p = step.p, .q = step.q, .count = count,
                 .y = values});
}

void finish_rows(const ConvTier& tier, const Epilogue& epilogue, const EpilogueRows& rows) noexcept {
  FinishTileCall last{.sums = rows.sums,
                      .row_count = rows.count,
                      .sum_stride = rows.sum_stride,
                      .features = rows.features,
                      .bias = rows.bias,
                      .residual = rows.residual,
                      .y = rows.y,
                      .stride = rows.pitch,
                      .low = epilogue.low,
                      .high = epilogue.high};
  if (!epilogue.has_activation) return tier.finish(last);
  // In two steps: what is inside the activation stays in the sums.
  FinishTileCall inner = last;
  inner.y = rows.sums;
  inner.stride = rows.sum_stride;
  inner.residual = nullptr;
  if (rows.residual && !epilogue.residual_last) {  // which has a stride of its own
    inner.row_count = 1;
    for (int64_t r = 0; r < rows.count; ++r) {
      inner.sums = inner.y = rows.sums + r * rows.sum_stride;
      inner.residual = rows.residual + r * rows.pitch;
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
