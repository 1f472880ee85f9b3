// Patterns of rotary position embedding, shared by its rules.
#pragma once

#include <optional>

#include "ir/graph.h"

namespace lathe::opt {

// The part [begin, end) of the last axis that `slice` is of `of`; end is the axis' length where it goes to the end.
struct LastAxisPart {
  ir::Value of;
  int64_t begin;
  int64_t end;
};
std::optional<LastAxisPart> find_part(const ir::Graph& graph, ir::Value slice);

// Whether `value` is some t twice along the last axis, seen through Cos, Sin and products with a scalar constant.
bool is_doubled(const ir::Graph& graph, ir::Value value);
// Half of such a value: the same operators applied to t. Adds nodes before `before`.
ir::Value half_of(ir::Graph& graph, ir::Value value, ir::NodeId before);

}  // namespace lathe::opt
