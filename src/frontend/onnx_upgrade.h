// Nodes of older opsets in the newest form.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::frontend {

// A node before it is added to the graph.
struct PendingNode {
  std::string op;
  std::string name;
  std::vector<ir::Value> inputs;
  op::Attributes attributes;
  int outputs = 1;
};

// Brings `node`, written for opset `opset` of ONNX's own domain, to the newest form: changes it, or adds the nodes that
// stand for it to `graph` and returns their results (absent values at the end where nobody may ask for them). Throws
// unsupported where there is no newest form.
std::optional<std::vector<ir::Value>> upgrade_node(ir::Graph& graph, PendingNode& node, int64_t opset);

// Whether ONNX's own domain had an operator of this name that the newest opset lacks, and upgrade_node replaces.
bool is_retired_op(std::string_view op);

// Adds a node and returns its first output.
ir::Value add(ir::Graph& graph, std::string_view op, std::vector<ir::Value> inputs, op::Attributes attributes = {});
// Adds constants: a list and a scalar of i64, a scalar of any float type.
ir::Value add_ints(ir::Graph& graph, const std::vector<int64_t>& values);
ir::Value add_int(ir::Graph& graph, int64_t value);
ir::Value add_real(ir::Graph& graph, tensor::DType dtype, double value);

}  // namespace lathe::frontend
