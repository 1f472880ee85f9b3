// Between which numbers the elements of a value lie.
#pragma once

#include <limits>
#include <optional>

#include "ir/graph.h"

namespace lathe::opt {

struct ValueRange {
  double low = 0;
  double high = 0;

  bool is_finite_f32() const {
    constexpr double kLimit = std::numeric_limits<float>::max();
    return low >= -kLimit && high <= kLimit;
  }
};

// For masks: numbers put together by choices, sums, products and moves. Integers that a graph is given are taken to be
// 0 and 1, as attention masks are. nullopt where nothing is known.
std::optional<ValueRange> find_range(const ir::Graph& graph, ir::Value value);

}  // namespace lathe::opt
