// The graph: values in single-assignment form, nodes in topological order, constants as sources.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
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
// not empty; every node's op exists and its signature and inferred types hold; outputs are values of the
// graph. Copying copies structure; sources are shared.
class Graph {
 public:
  explicit Graph(std::string name = "main") : name_(std::move(name)) {}

  const std::string& name() const { return name_; }

  // Construction. Names that are taken already (or empty) get a number appended; constants are looked up by
  // the name they were added under (source_name).
  Value add_input(std::string_view name, op::TypeInfo type);
  Value add_constant(std::string_view name, tensor::SourcePtr source);
  Value add_constant(std::string_view name, tensor::Tensor tensor);
  // The output gets exactly this name: `value` is renamed, or, where it cannot be (an input, a constant, an
  // output under another name already), copied by an Identity node. Another result or constant of that name
  // gives way; throws invalid_input when an input or output has it.
  void add_output(Value value, std::string_view name);
  // Appends a node (or inserts it before `before`), infers its output types; throws as infer does, with the
  // node's name as context, and then leaves the graph as it was. `outputs` is the number of outputs wanted.
  // Results are called after the node, or after its op.
  NodeId add_node(std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {},
                  std::string_view name = "", int outputs = 1, NodeId before = {});

  // Reading.
  std::span<const NodeId> nodes() const { return order_; }  // topological
  const Node& node(NodeId id) const;
  bool contains(NodeId id) const;                                // false once it is erased
  int32_t node_limit() const { return int32_t(nodes_.size()); }  // nodes added later have ids from here on
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
  // The name the constant was added under ("model.norm.weight"), whatever the value is called now. Unique.
  const std::string& source_name(Value constant) const;
  // The tensor of a plain constant of at most 64 KiB; nullptr for anything else. Cached.
  const tensor::Tensor* small_constant(Value value) const;
  std::span<const NodeId> users(Value value) const;  // each user once per use
  std::optional<Value> find(std::string_view value_name) const;

  // What the outputs of the node would be inferred as now. Throws as infer does.
  std::vector<op::TypeInfo> inferred_types(NodeId node) const;

  // Rewriting. Spans that reading returned are invalid afterwards. Types are not inferred again unless it
  // says so: call infer_types() after replacing a value by one of another type.
  void set_input(NodeId node, size_t index, Value value);
  void set_attribute(NodeId node, std::string name, op::AttributeValue value);
  // In nodes (but the one that produces `to`) and graph outputs. Output names move with them: `from` and `to`
  // swap names; where `to` cannot be renamed it is copied by an Identity node of that name.
  void replace_uses(Value from, Value to);
  void erase(NodeId node);  // none of its outputs may be in use
  // Symbols that an operator named after its result (the length of NonZero ...) follow: types are inferred
  // again then.
  void rename(Value value, std::string_view name);
  void remove_input(size_t index);  // must have no users
  void replace_outputs(std::vector<Value> outputs);
  // Infers every type again, in order (after inputs changed type); throws like add_node.
  void infer_types();
  // The same constant stored otherwise: dims and dtype must be equal.
  void set_source(Value constant, tensor::SourcePtr source);
  void set_type(Value input, op::TypeInfo type);  // of a graph input; call infer_types() afterwards

 private:
  struct ValueData {
    std::string name;
    op::TypeInfo type;
    ValueKind kind = ValueKind::result;
    NodeId producer;
    tensor::SourcePtr source;
    std::string source_name;
    std::vector<NodeId> users;
    mutable std::shared_ptr<const tensor::Tensor> small;  // shared with copies of the graph
  };

  const ValueData& data(Value value) const;
  ValueData& data(Value value);
  Node& mutable_node(NodeId id);
  std::string unique_name(std::string_view wanted);
  Value new_value(ValueData data);
  std::vector<op::TypeInfo> infer(const Node& node, std::string_view result_name) const;
  void claim_name(Value value, std::string_view name);
  void remove_user(Value value, NodeId user);
  void forget(Value value);

  std::string name_;
  std::vector<ValueData> values_;
  std::vector<std::optional<Node>> nodes_;  // empty: erased
  std::vector<NodeId> order_;
  std::vector<Value> inputs_;
  std::vector<Value> outputs_;
  std::map<std::string, Value, std::less<>> by_name_;
  std::map<std::string, Value, std::less<>> by_source_name_;
  std::map<std::string, int32_t, std::less<>> next_number_;  // appended to a name that is taken
};

// Checks the invariants, those of bodies too. Throws internal naming node and value.
void verify(const Graph& graph);

// Text form, one line per value or node, e.g.
//   graph main {
//     input %input_ids: i64[batch, sequence]
//     const %norm: f32[576] = "model.norm.weight" plain
//     %h: f32[batch, sequence, 576] = RMSNormalization(%x, %norm) {axis = -1, epsilon = 1e-05}
//     "layers.0.norm" output %h
//   }
// Plain constants of at most 16 elements are printed with their values ({1.0, 2.0}, then the name they were
// added under if it is another); omitted inputs print as `_`. Names with other characters than letters,
// digits and _ . / - stand in quotes (%"a b"); values of types without arithmetic print as `hex 00ff`.
// Deterministic.
struct PrintOptions {
  bool types = true;       // of results; parse infers them if they are left out, and compares them if not
  bool node_names = true;  // the text in quotes after a node, and after a constant that was renamed
};
std::string print(const Graph& graph, const PrintOptions& options = {});
// The same graph to two readers: results and constants are numbered in order (inputs and outputs keep their
// names), node names are left out. For comparing what passes made.
std::string print_canonical(const Graph& graph);
// Whether print() spells the constant's values out; other constants it names, and parse asks for them.
bool prints_inline(const Graph& graph, Value constant);
// Inverse of print. Constants given by name are asked of `resolve`(name in quotes, dtype, encoding, dims); it
// may be empty when there are none. Lines that begin with // are skipped.
// Throws invalid_input with line number.
using ConstantResolver = std::function<tensor::SourcePtr(
    const std::string& name, tensor::DType dtype, tensor::Encoding encoding, const tensor::Dims& dims)>;
// Bodies of nodes are graphs of their own in the text; constants by name in them are asked for likewise.
Graph parse(std::string_view text, const ConstantResolver& resolve);

// The reference executor: runs every node's `evaluate` in order; slow, obvious, for any graph. A constant is
// loaded when its first user runs and freed after its last, so are results; memory follows what is alive.
// Throws invalid_input if an input is missing, unknown, or its dtype or dims do not fit the declared type
// (symbols must bind consistently), and if a result's dims contradict the type that was inferred for it.
struct EvaluateOptions {
  // Called with each result that is a tensor as it appears; return false to stop early (what is there by then is
  // returned).
  std::function<bool(Value, const tensor::Tensor&)> observe;
  // Values wanted; empty means the graph's outputs. Only what they need is computed, and only the inputs that
  // this needs must be given.
  std::vector<Value> results;
  op::RunLimits limits;
};
// What the symbols of the input types are for these inputs: {"batch": 2, "sequence": 7}. Throws as evaluate.
std::map<std::string, int64_t, std::less<>> bind_symbols(const Graph& graph,
                                                         const std::map<std::string, tensor::Tensor>& inputs);

// For graphs with sequences and optionals among inputs and outputs; an optional input may be left out.
std::map<std::string, op::Datum> evaluate_data(const Graph& graph, const std::map<std::string, op::Datum>& inputs,
                                               const EvaluateOptions& options = {});
// For graphs whose inputs and outputs are tensors: throws invalid_input if a result is not.
std::map<std::string, tensor::Tensor> evaluate(const Graph& graph,
                                               const std::map<std::string, tensor::Tensor>& inputs,
                                               const EvaluateOptions& options = {});

}  // namespace lathe::ir
