// Rows of heads and heads apart: [batch, seq, heads * dim] and [batch, heads, seq, dim].
#pragma once

#include <optional>

#include "ir/graph.h"

namespace lathe::opt {

// What split(x) is made of: Transpose(Reshape(x, [batch, seq, heads, dim]), [0, 2, 1, 3]).
struct SplitHeads {
  ir::Value rows;   // x
  ir::Value shape;  // that Reshape was told
  int64_t heads;
};
std::optional<SplitHeads> find_split(const ir::Graph& graph, ir::Value value);
// The same where `reshape` alone takes the heads apart, and they have not moved yet.
std::optional<SplitHeads> find_rows_of_heads(const ir::Graph& graph, const ir::Node& reshape);
// split(rows) with `shape`, added before `before`.
ir::Value split_heads(ir::Graph& graph, ir::Value rows, ir::Value shape, ir::NodeId before);

}  // namespace lathe::opt
