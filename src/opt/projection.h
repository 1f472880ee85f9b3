// x W + b with constants W and b, as exporters write the projections of a layer.
#pragma once

#include <functional>
#include <optional>

#include "ir/graph.h"

namespace lathe::opt {

// Product of x [.., K] with a constant matrix, and a constant vector added to it where there is one.
struct Projection {
  ir::Value x;
  ir::Value matrix;     // constant: [K, N], or [N, K] where it is read through a Transpose
  bool turned = false;  // it is read through one
  ir::Value bias;       // constant [N]; absent: none
  ir::NodeId product;   // the MatMul
};
// What computes `value`, if its only purpose is `value`: a product that others read too is no projection here.
std::optional<Projection> find_projection(const ir::Graph& graph, ir::Value value);

// The projection onto some of the columns, in any order: column c of the result is column map(c) of the whole. Its
// constants are called as those of the whole with `suffix`. Adds nodes before `before`.
ir::Value project_columns(ir::Graph& graph, const Projection& whole, int64_t columns,
                          const std::function<int64_t(int64_t)>& map, std::string_view suffix, ir::NodeId before);

}  // namespace lathe::opt
