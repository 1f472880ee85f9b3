// The graphs inside a node, and which of the node's inputs each of them captures.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::frontend {

struct NodeBody {
  std::string attribute;
  const ir::Graph* graph;  // of the node
  size_t formal;           // inputs of the graph that the operator gives; those behind them are captured
  size_t first_capture;    // input of the node that is the first of them

  size_t captures() const { return graph->inputs().size() - formal; }
};

struct NodeBodies {
  size_t own_inputs;  // of the node; what its bodies capture follows, body by body
  std::vector<NodeBody> bodies;
};

// None where the operator has no graphs.
NodeBodies bodies_of(const ir::Node& node);

}  // namespace lathe::frontend
