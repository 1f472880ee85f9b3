// Which values of a graph plan its shapes may depend on.
#pragma once

#include <vector>

#include "plan/graph_plan.h"

namespace lathe::runtime {

// By value: whether its elements, and not only its type, may tell the lengths of something: inputs like Reshape's
// shape, and all that they are computed from.
std::vector<bool> shape_values(const plan::GraphPlan& plan);

}  // namespace lathe::runtime
