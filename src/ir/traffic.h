// How much the nodes of a graph read and write, as far as lengths are known.
#pragma once

#include <cstdint>

#include "ir/graph.h"

namespace lathe::ir {

struct Traffic {
  int64_t bytes = 0;    // of the inputs, constants included, and outputs of each node, each time
  int64_t unknown = 0;  // nodes with a value whose size is not known
};
// The graphs inside nodes are not counted.
Traffic count_traffic(const Graph& graph);

}  // namespace lathe::ir
