// Constants that bodies capture, made constants of the bodies.
#pragma once

#include <string_view>

#include "ir/graph.h"

namespace lathe::compiler {

// The body `name` of a node of `graph`, where what the node gives it is a constant reading that constant instead of its
// input, so that it is folded and packed there. The inputs stay.
ir::Graph with_constants(const ir::Graph& graph, const ir::Node& node, std::string_view name, ir::Graph body);

}  // namespace lathe::compiler
