// Whether two graphs can be given the same inputs and have the same outputs.
#pragma once

#include "opt/fix_lengths.h"
#include "verify/graph_runs.h"

namespace lathe::verify {

// Throws invalid_input naming every input and output that only one of them has, or that is another kind of thing, or of
// other lengths. Float types may differ.
void check_interfaces(const ir::Graph& a, const ir::Graph& b);

// The symbols of A's inputs that are numbers in B's, besides `lengths`, which go before.
opt::Lengths joint_lengths(const ir::Graph& a, const ir::Graph& b, opt::Lengths lengths);

// The inputs in the float types of the graph.
GraphData inputs_for(const ir::Graph& graph, const GraphData& inputs);
// The inputs rounded to numbers that the float types of both graphs hold.
GraphData rounded_for(const ir::Graph& a, const ir::Graph& b, const GraphData& inputs);

}  // namespace lathe::verify
