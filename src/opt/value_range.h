// Between which numbers the elements of a value lie.
#pragma once

#include <limits>

#include "ir/graph.h"

namespace lathe::opt {

// By default nothing is known.
struct ValueRange {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// For masks in f32: numbers put together by choices, sums, products and moves. With `given_masks`, integers that a
// graph is given are taken to be 0 and 1, as attention masks are; in the graph of a node they may be counters.
ValueRange find_range(const ir::Graph& graph, ir::Value value, bool given_masks);

}  // namespace lathe::opt
