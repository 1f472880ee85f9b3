// Kernels over whole f32 buffers of equal shape, for the operators that fusion left alone.
#pragma once

#include "backend/bound.h"
#include "backend/cpu/elementwise.h"
#include "backend/refusals.h"

namespace lathe::backend {

// The elements [begin, end) that are this member's, in whole vectors.
inline TeamMember::Range element_share(const Bound& bound, const Step& step, const TeamMember& member) {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  return member.share(step.rows(out.rows) * std::max<int64_t>(out.columns, 1), 64);
}

using Unary = void (*cpu::ElementwiseKernels::*)(const float* x, int64_t count, float* y) noexcept;
using Binary = void (*cpu::ElementwiseKernels::*)(const float* a, const float* b, int64_t count, float* y) noexcept;

template <Unary kFunction>
void run_unary(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const auto [begin, end] = element_share(bound, step, member);
  (cpu::elementwise_kernels(cpu::Isa(bound.settings.isa)).*kFunction)(input_data<float>(bound, 0) + begin, end - begin,
                                                                      output_data<float>(bound) + begin);
}

template <Binary kFunction>
void run_binary(const Bound& bound, const Step& step, TeamMember& member) noexcept {
  const auto [begin, end] = element_share(bound, step, member);
  (cpu::elementwise_kernels(cpu::Isa(bound.settings.isa)).*kFunction)(input_data<float>(bound, 0) + begin,
                                                                      input_data<float>(bound, 1) + begin, end - begin,
                                                                      output_data<float>(bound) + begin);
}

}  // namespace lathe::backend
