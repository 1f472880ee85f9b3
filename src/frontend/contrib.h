// Operators of the domain com.microsoft, which ONNX Runtime's optimiser and quantiser write: each is written in
// standard operators when a file is imported.
//
// An operator is an entry of a table in `frontend/contrib/<name>.cpp`, which defines
// `std::span<const ContribOp> <name>_contrib()`. The file's name is the registration
// (docs/contrib-operators.md).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/builder.h"
#include "frontend/onnx_upgrade.h"

namespace lathe::frontend {

using Results = std::vector<Value>;

class ContribNode;

struct ContribOp {
  std::string_view name;    // "MatMulNBits"
  std::string_view inputs;  // by name, in order: "A B zero_points? bias?"; a last "..." is any number of further ones
  std::string_view attributes;  // those that `expand` honours, any other is refused: "K N bits"
  int outputs = 1;
  // The results, absent where an output has no expansion.
  Results (*expand)(const ContribNode&) = nullptr;
  bool standard_domain = false;   // ONNX Runtime writes it into ONNX's own domain, too
  std::string_view refusal = {};  // of an operator that cannot be expanded at all: why, and what to do
};

// nullptr when there is none. `domain` as the file has it.
const ContribOp* find_contrib(std::string_view domain, std::string_view op);
// Why an operator of that name is refused; empty where nothing is known of it.
std::string_view contrib_refusal(std::string_view domain, std::string_view op);
// All of them, by file and then as they stand there.
std::span<const ContribOp* const> all_contrib_ops();

// Adds the nodes that stand for `node` and returns their results. Throws unsupported, naming it, for an attribute,
// input or form that has no expansion; invalid_input for a node that breaks the operator's signature.
Results expand_contrib(ir::Graph& graph, const ContribOp& op, const PendingNode& node);

// What an expansion works with: a builder on the graph, and the node.
class ContribNode {
 public:
  ContribNode(ir::Graph& graph, const ContribOp& op, const PendingNode& node);

  const Builder b;

  size_t inputs() const { return node_.inputs.size(); }
  bool has(size_t i) const { return i < node_.inputs.size() && node_.inputs[i]; }
  Value in(size_t i) const { return has(i) ? node_.inputs[i] : Value(); }
  // Of an input that must be there. Throws unsupported where the rank is not known.
  const op::TypeInfo& type(size_t i) const;
  const tensor::Shape& shape(size_t i) const { return type(i).shape; }
  size_t rank(size_t i) const { return shape(i).size(); }
  tensor::DType dtype(size_t i) const { return type(i).dtype; }
  // A dimension, counted from the back if negative; number() throws unsupported where it is symbolic, and invalid_input
  // from 2^31 on: two numbers multiply without overflow.
  const tensor::Dim& dim(size_t i, int axis) const;
  int64_t number(size_t i, int axis) const;
  bool is_constant(size_t i) const { return has(i) && b.graph().is_constant(node_.inputs[i]); }
  // Throws unless the input has one of these ranks.
  void require_rank(size_t i, std::initializer_list<size_t> ranks) const;
  // Throw invalid_input and unsupported.
  [[noreturn]] void bad_input(size_t i, std::string_view why) const;
  [[noreturn]] void refuse_input(size_t i, std::string_view why) const;
  void no_input(size_t i, std::string_view why) const {
    if (has(i)) refuse_input(i, why);
  }

  const op::Attributes& attributes() const { return node_.attributes; }
  bool has_attribute(std::string_view name) const { return node_.attributes.has(name); }
  int64_t get_int(std::string_view name, int64_t otherwise) const { return node_.attributes.get_int(name, otherwise); }
  int64_t get_int(std::string_view name) const;  // required
  bool get_bool(std::string_view name, bool otherwise = false) const { return get_int(name, otherwise ? 1 : 0) != 0; }
  double get_float(std::string_view name, double otherwise) const {
    return node_.attributes.get_float(name, otherwise);
  }
  // Throws unsupported, with the reason, unless the attribute is absent or has this value.
  void only(std::string_view name, int64_t value, std::string_view why) const;
  // The attributes of those names that the node has.
  op::Attributes take(std::initializer_list<std::string_view> names) const;

  bool wants(int output) const { return output < node_.outputs; }
  int outputs() const { return node_.outputs; }

 private:
  std::string input_name(size_t i) const;  // with its type, where it is there

  const ContribOp& op_;
  const PendingNode& node_;
};

}  // namespace lathe::frontend
