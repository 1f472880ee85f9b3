// A graph of another float type as the same graph in fp32.
#pragma once

#include <set>
#include <string>

#include "ir/graph.h"

namespace lathe::compiler {

// The same graph with every float type f32: constants widened, casts between floats gone in effect. Names stay.
ir::Graph in_fp32(const ir::Graph& graph);

// Matrices of an fp32 graph whose every value is one of `dtype` are stored as that, behind a Cast. Those that come from
// a tensor whose origin is in `narrow` are known to be; the others are read.
void store_narrow_matrices(ir::Graph& graph, tensor::DType dtype, const std::set<std::string>& narrow);

}  // namespace lathe::compiler
