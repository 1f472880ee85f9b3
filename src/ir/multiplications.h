// How much work the products of a graph are, as far as lengths are known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "ir/graph.h"

namespace lathe::ir {

// Multiply-accumulates by operator: convolutions, matrix products, attention, recurrent layers. The graphs inside nodes
// are not counted, but for what a lathe.Contrib means.
struct Multiplications {
  std::map<std::string, int64_t> by_op;
  int64_t total = 0;
  int64_t unknown = 0;  // nodes of these operators whose lengths are not numbers
};
Multiplications count_multiplications(const Graph& graph);

}  // namespace lathe::ir
