// Binds the instructions of a graph plan to the lengths of a call: types, kernels, orders, places.
#pragma once

#include <vector>

#include "backend/device.h"
#include "runtime/stage.h"

namespace lathe::runtime {

// What binding needs besides the states.
struct BindingContext {
  const plan::GraphModel& model;
  const backend::Device& device;
  int isa = 0;
  int threads = 1;
  double alone_below = 0;  // see GraphOptions
  // By value: the last instruction that reads it; the number of instructions where the caller does.
  std::vector<size_t> last_use = {};
  // Stages that only tell what they would take: no memory, nothing prepared. They cannot run.
  bool measuring = false;
};

// Elements up to which a value's numbers take part in binding (shape arithmetic, small results of loops).
constexpr int64_t kMaxKnown = 1024;

// The instructions from `begin` on that can be bound to what `states` knows. Throws as the operators' inference does,
// with the instruction as context.
Stage bind_stage(const BindingContext& context, const std::vector<ValueState>& states, size_t begin);

}  // namespace lathe::runtime
