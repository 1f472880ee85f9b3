// The reference side of gate 2: the engine's own graph, in fp32, by the reference executor.
#pragma once

#include <functional>
#include <span>

#include "ir/graph.h"

namespace lathe::verify {

// Runs the exported form on one sequence without a past. `observe(name, node, values)` gets every f32 result in
// order, flattened; returning false stops.
using Observe = std::function<bool(const std::string& name, const ir::Node& node, std::span<const float> values)>;
void run_reference(const ir::Graph& graph, std::span<const int32_t> tokens, const Observe& observe);

}  // namespace lathe::verify
