// Graph construction that reads like the formula: b.add(x, b.linear(b.rms_norm(x, w, eps), p)).
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace lathe::frontend {

using ir::Value;

// Appends nodes to one graph under a scope name. Cheap to make; holds only references.
class Builder {
 public:
  explicit Builder(ir::Graph& graph, std::string scope = "") : graph_(graph), scope_(std::move(scope)) {}
  Builder scoped(std::string_view name) const;  // "layers.3" -> names "layers.3.attn_norm"
  ir::Graph& graph() const { return graph_; }

  // One node with one output. Constants of the standard operators' small integer inputs come from ints().
  Value node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {},
             std::string_view name = "") const;
  std::vector<Value> nodes(std::string_view op, std::vector<Value> inputs, op::Attributes attributes, int outputs,
                           std::string_view name = "") const;

  Value ints(std::vector<int64_t> values) const;              // i64 [n]
  Value scalar(double value, tensor::DType dtype) const;      // rank 0
  Value add(Value a, Value b) const { return node("Add", {a, b}); }
  Value sub(Value a, Value b) const { return node("Sub", {a, b}); }
  Value mul(Value a, Value b) const { return node("Mul", {a, b}); }
  Value div(Value a, Value b) const { return node("Div", {a, b}); }
  Value cast(Value x, tensor::DType dtype) const;             // x itself when it has the type already
  Value reshape(Value x, std::vector<int64_t> dims) const;    // 0 copies, -1 infers
  Value transpose(Value x, std::vector<int64_t> permutation) const;
  Value concat(std::vector<Value> values, int64_t axis) const;
  Value unsqueeze(Value x, std::vector<int64_t> axes) const;
  Value slice(Value x, int64_t begin, int64_t end, int64_t axis, int64_t step = 1) const;
  // x [.., K] times the transpose of weight [N, K], plus bias [N] if there is one.
  Value linear(Value x, Value weight, Value bias = {}, std::string_view name = "") const;

 private:
  std::string qualified(std::string_view name) const;
  ir::Graph& graph_;
  std::string scope_;
};

}  // namespace lathe::frontend
