// A graph of another float type as the same graph in fp32.
#pragma once

#include "ir/graph.h"

namespace lathe::compiler {

// The same graph with every float type f32: constants widened, casts between floats gone in effect. Names stay.
ir::Graph in_fp32(const ir::Graph& graph);

}  // namespace lathe::compiler
