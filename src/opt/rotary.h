// Patterns of rotary position embedding, shared by its rules.
#pragma once

#include "ir/graph.h"

namespace lathe::opt {

// Whether `value` is some t twice along the last axis, seen through Cos, Sin and products with a scalar constant.
bool is_doubled(const ir::Graph& graph, ir::Value value);
// Half of such a value: the same operators applied to t. Adds nodes before `before`.
ir::Value half_of(ir::Graph& graph, ir::Value value, ir::NodeId before);

}  // namespace lathe::opt
