// Writes a graph in the operators of an older opset: each operator that the opset lacks has one expansion.
#pragma once

#include "ir/graph.h"

namespace lathe::frontend {

constexpr int kOldestExportOpset = 13;
constexpr int kNewestExportOpset = 24;

// The same graph with every operator that `opset` lacks (and every lathe.* operator that has a standard form)
// replaced by its expansion, in graphs inside nodes too. Constants are shared, names of inputs, results and constants
// kept; constants that a graph inside a node captures become its own. Throws unsupported naming node and operator when
// there is no expansion.
// Note that attributes and inputs stay in the canonical form; the ONNX writer adapts those.
ir::Graph lower_to_opset(const ir::Graph& graph, int opset);

}  // namespace lathe::frontend
