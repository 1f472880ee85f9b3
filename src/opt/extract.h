// A part of a graph: what lies between some of its values, as a graph of its own.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::opt {

// The nodes that `outputs` need when the values of `inputs` are given, under the names they had. Inputs may be inputs
// and results of the graph; outputs results, inputs and constants. Empty `inputs` are the graph's own; those of the
// graph's inputs that the part needs besides stay inputs, in front. Empty `outputs` are the graph's own. Weights are
// shared. Throws usage for names that the graph does not have (with names that are near), that come twice, for inputs
// that no output depends on and for those whose type only the run knows.
ir::Graph extract(const ir::Graph& graph, const std::vector<std::string>& inputs,
                  const std::vector<std::string>& outputs);

}  // namespace lathe::opt
