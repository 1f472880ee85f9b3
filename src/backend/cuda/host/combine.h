// Sums and products of two buffers of one shape.
#pragma once

#include <algorithm>

#include "backend/bound.h"
#include "backend/cuda/host/accelerator.h"
#include "backend/refusals.h"

namespace lathe::backend::cuda {

template <LatheCudaOperation kOperation>
void run_combine(const Bound& bound, const Step& step, TeamMember&) noexcept {
  const plan::Buffer& out = output_buffer(*bound.plan, *bound.instruction);
  LatheCudaCombine call = {};
  call.a = input_data<float>(bound, 0);
  call.b = input_data<float>(bound, 1);
  call.y = output_data<float>(bound);
  call.count = step.rows(out.rows) * std::max<int64_t>(out.columns, 1);
  call.operation = kOperation;
  launch(bound, &LatheCudaApi::combine, call);
}

}  // namespace lathe::backend::cuda
