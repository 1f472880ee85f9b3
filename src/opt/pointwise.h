// What the rules that make programs of elementwise operators share.
#pragma once

#include <optional>

#include "ir/graph.h"
#include "op/pointwise.h"

namespace lathe::opt {

// The step that a node is, where all it computes with is f32: its arguments are the node's inputs, or numbers where
// those are constants of one element.
std::optional<op::PointwiseStep> find_step(const ir::Graph& graph, const ir::Node& node);

}  // namespace lathe::opt
