// The graph: values in single-assignment form, nodes in topological order, constants as sources.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "op/op.h"
#include "tensor/source.h"

namespace lathe::ir {

// Handles into one Graph. A default-constructed Value is "absent" (an omitted optional input).
struct Value {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  friend auto operator<=>(Value, Value) = default;
};
struct NodeId {
  int32_t id = -1;
  explicit operator bool() const { return id >= 0; }
  friend auto operator<=>(NodeId, NodeId) = default;
};

struct Node {
  std::string op;    // name of its OpDef
  std::string name;  // where it comes from: "layers.3.attention"; for messages, need not be unique
  op::Attributes attributes;
  std::vector<Value> inputs;   // may hold absent values
  std::vector<Value> outputs;  // may hold absent values at the end
};

enum class ValueKind { input, constant, result };

// Invariants (verify() checks them): every value is defined before it is used; names of values are unique and
// not empty; every node's op exists and its signature and inferred types hold; outputs are values of the graph.
// Copying copies structure; sources are shared.
class Graph {
 public:
  explicit Graph(std::string name = "main") : name_(std::move(name)) {}

  const std::string& name() const { return name_; }

  // Construction. Names that are taken already (or empty) get a number appended; constants are looked up by
  // the name they were added under.
  Value add_input(std::string_view name, op::TypeInfo type);
  Value add_constant(std::string_view name, tensor::SourcePtr source);
  Value add_constant(std::string_view name, tensor::Tensor tensor);
  void add_output(Value value, std::string_view name);  // renames `value` if it is a result
  // Appends a node (or inserts it before `before`), infers its output types; throws as infer does, with the
  // node's name as context. `outputs` is the number of outputs wanted.
  NodeId add_node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {},
                  std::string_view name = "", int outputs = 1, NodeId before = {});

  // Reading.
  std::span<const NodeId> nodes() const { return order_; }  // topological
  const Node& node(NodeId id) const;
  std::span<const Value> inputs() const { return inputs_; }
  std::span<const Value> outputs() const { return outputs_; }
  std::vector<Value> constants() const;  // those in use, in order of creation
  const std::string& name(Value value) const;
  const op::TypeInfo& type(Value value) const;
  ValueKind kind(Value value) const;
  bool is_constant(Value value) const { return value && kind(value) == ValueKind::constant; }
  bool is_output(Value value) const;
  NodeId producer(Value value) const;  // absent for inputs and constants
  const tensor::SourcePtr& source(Value constant) const;
  // The tensor of a plain constant of at most 64 KiB; nullptr for anything else. Cached.
  const tensor::Tensor* small_constant(Value value) const;
  std::span<const NodeId> users(Value value) const;  // each user once per use
  std::optional<Value> find(std::string_view value_name) const;

  // Rewriting.
  void set_input(NodeId node, size_t index, Value value);
  void set_attribute(NodeId node, std::string name, op::AttributeValue value);
  void replace_uses(Value from, Value to);  // in nodes and graph outputs; output names move with them
  void erase(NodeId node);                  // none of its outputs may be in use
  void rename(Value value, std::string_view name);
  void remove_input(size_t index);  // must have no users
  void replace_outputs(std::vector<Value> outputs) ;
  // Infers every type again, in order (after inputs changed type); throws like add_node.
  void infer_types();
  void set_type(Value input, op::TypeInfo type);  // of a graph input; call infer_types() afterwards

 private:
  struct ValueData {
    std::string name;
    op::TypeInfo type;
    ValueKind kind = ValueKind::result;
    NodeId producer;
    tensor::SourcePtr source;
    std::vector<NodeId> users;
    mutable std::shared_ptr<const tensor::Tensor> small;  // shared with copies of the graph
  };

  std::string unique_name(std::string_view wanted) const;
  Value new_value(ValueData data);
  void infer_node(NodeId id);

  std::string name_;
  std::vector<ValueData> values_;
  std::vector<std::optional<Node>> nodes_;
  std::vector<NodeId> order_;
  std::vector<Value> inputs_;
  std::vector<Value> outputs_;
  std::map<std::string, Value, std::less<>> by_name_;
};

// Checks the invariants. Throws internal naming node and value.
void verify(const Graph& graph);

// Text form, one line per value or node, e.g.
//   graph main {
//     input %input_ids: i64[batch, sequence]
//     const %norm: f32[576] = "model.norm.weight" plain
//     %h: f32[batch, sequence, 576] = RMSNormalization(%x, %norm) {axis = -1, epsilon = 1e-05} "layers.0.norm"
//     output %h
//   }
// Plain constants of at most 16 elements are printed with their values instead of a name in quotes; omitted
// inputs print as `_`. Deterministic. With `types` off, result types are left out (parse infers them).
std::string print(const Graph& graph);
// Inverse of print. Constants given by name are asked of `resolve`(name in quotes, dtype, encoding, dims).
// Throws invalid_input with line number.
using ConstantResolver = std::function<tensor::SourcePtr(const std::string& name, tensor::DType dtype,
                                                         tensor::Encoding encoding, const tensor::Dims& dims)>;
Graph parse(std::string_view text, const ConstantResolver& resolve);

// The reference executor: runs every node's `evaluate` in order; slow, obvious, for any graph.
// Throws invalid_input if an input is missing or its dtype or dims do not fit the declared type; symbols must
// bind consistently.
struct EvaluateOptions {
  // Called with each result as it appears; return false to stop early.
  std::function<bool(Value, const tensor::Tensor&)> observe;
  // Results wanted; empty means the graph's outputs. Only what they need is computed.
  std::vector<Value> results;
};
std::map<std::string, tensor::Tensor> evaluate(const Graph& graph, const std::map<std::string, tensor::Tensor>& inputs,
                                               const EvaluateOptions& options = {});

}  // namespace lathe::ir
