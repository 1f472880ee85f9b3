// An operator: how many inputs and outputs, what its attributes are, what it gives (types and shapes), and a
// slow obvious reference that computes it.
//
// Each operator is one file, `op/<snake_case_name>.cpp`, that defines `const OpDef& <snake_case_name>_op()`
// in namespace lathe::op. The file's name is the registration: CMake generates the table that find_op reads.
// Standard operators carry their ONNX name at opset 27; operators of our own are named "lathe.Name".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "op/attributes.h"
#include "op/datum.h"
#include "tensor/dtype.h"
#include "tensor/encoding.h"
#include "tensor/shape.h"
#include "tensor/tensor.h"

namespace lathe::op {

// What a value is: one tensor, a sequence of tensors of one dtype, or either of them or nothing.
enum class Form : uint8_t { tensor, sequence, optional_tensor, optional_sequence };

// What is known of a value before run time.
struct TypeInfo {
  tensor::DType dtype = tensor::DType::undefined;  // of the elements; undefined: not known either
  tensor::Shape shape;                             // of a tensor of known rank, else empty
  // The elements of a small integer tensor (rank 0 or 1) where they are known, symbols included: the result
  // of Shape, Concat, Gather, Range ... Lets Reshape and Expand infer their output.
  std::optional<std::vector<tensor::Dim>> elements = {};
  Form form = Form::tensor;
  bool ranked = true;  // false: only the run knows the rank

  static TypeInfo unranked(tensor::DType dtype) { return {.dtype = dtype, .shape = {}, .ranked = false}; }
  static TypeInfo sequence(tensor::DType dtype) {
    return {.dtype = dtype, .shape = {}, .form = Form::sequence, .ranked = false};
  }
  // A tensor whose dtype and rank are known: the only thing that ordinary operators see.
  bool is_plain() const { return form == Form::tensor && ranked && dtype != tensor::DType::undefined; }

  friend bool operator==(const TypeInfo& a, const TypeInfo& b) = default;
};
// "f32[batch, 576]", "f32[...]" without a rank, "sequence(f32)", "optional(f32)", "optional(sequence(?))", "?".
std::string to_string(const TypeInfo& type);

// Input of OpDef::infer. Omitted optional inputs are nullptr.
struct InferContext {
  std::string_view op;
  const Attributes& attributes;
  std::vector<const TypeInfo*> inputs;
  // The value of an input that is a plain constant, else nullptr. Same length as inputs.
  std::vector<const tensor::Tensor*> constants;
  std::vector<TypeInfo> outputs;  // sized by the caller to the outputs wanted; infer fills them
  // A text that no other node of the graph has: makes the symbols of dimensions that only the run knows
  // (NonZero, Slice by a computed length ...) distinct. Without '+', '*', '.' and blanks; may be empty when
  // there is one node.
  std::string unique_name = {};

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i] != nullptr; }
  // Input i, which must be there. Throws invalid_input naming op and position.
  const TypeInfo& input(size_t i) const;
};

// Input of OpDef::evaluate. Inputs are plain tensors (constants dequantised to their logical dtype); omitted
// optional ones are undefined. Shapes have been checked by infer on the actual dims.
struct EvaluateContext {
  const Attributes& attributes;
  std::vector<tensor::Tensor> inputs;
  std::vector<tensor::Tensor> outputs;  // sized to the outputs wanted; evaluate assigns each

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
};

// Input of OpDef::evaluate_data: as EvaluateContext, for operators that also handle sequences, optionals and graphs.
struct DataContext {
  const Attributes& attributes;
  const RunLimits& limits;
  std::vector<Datum> inputs;
  std::vector<Datum> outputs;

  bool has_input(size_t i) const { return i < inputs.size() && inputs[i].defined(); }
};

enum class AttributeKind { integer, real, string, integers, reals, strings, tensor, graph };

struct AttributeSpec {
  std::string_view name;
  AttributeKind kind;
  bool required = false;
  int since = 1;  // first opset that has it
};

constexpr int kVariadic = -1;

struct OpDef {
  std::string_view name;
  int min_inputs = 0;
  int max_inputs = 0;  // or kVariadic
  int min_outputs = 1;
  int max_outputs = 1;  // or kVariadic
  std::vector<AttributeSpec> attributes = {};
  // First opset that has the operator as it is here, counted from 13 on, the oldest that is read and written: what
  // is older has 1. (Operators of our own are in none.)
  int since = 1;
  std::vector<std::pair<size_t, int>> inputs_since = {};  // the same of inputs that came later
  // Reductions: first opset in which the axes are input 1 and no longer an attribute. 0: not a reduction.
  int axes_input_since = 0;
  // Each element of the result depends on one element of each input, broadcast.
  bool elementwise = false;
  // infer takes inputs of any type; otherwise it is only called with plain ones (TypeInfo::is_plain).
  bool infers_any = false;
  // Fills outputs; throws invalid_input with operator, expected and found.
  void (*infer)(InferContext&) = nullptr;
  // At least one of the two. evaluate is for tensors; evaluate_data, for whatever else comes, checks its inputs itself.
  void (*evaluate)(EvaluateContext&) = nullptr;
  void (*evaluate_data)(DataContext&) = nullptr;
};

// Throws unsupported naming the operator, or its attribute or input, that opset `opset` does not have.
void check_opset(const OpDef& def, size_t inputs, const Attributes& attributes, int opset);

// nullptr when there is no such operator.
const OpDef* find_op(std::string_view name);
// Throws unsupported naming it.
const OpDef& get_op(std::string_view name);
// All operators, sorted by name.
std::span<const OpDef* const> all_ops();

// Checks arity and attribute names and kinds against the definition. Throws invalid_input.
void check_signature(const OpDef& def, size_t inputs, size_t outputs, const Attributes& attributes);

// For any operator and any inputs: evaluate as below where there are only tensors, else the operator's evaluate_data.
std::vector<Datum> evaluate_data(const OpDef& def, std::vector<Datum> inputs, const Attributes& attributes,
                                 size_t outputs, const RunLimits& limits);

// Runs infer on actual tensors, then evaluate, then checks that what came out has the inferred dtype and
// dims.
std::vector<tensor::Tensor> evaluate(const OpDef& def, std::vector<tensor::Tensor> inputs,
                                     const Attributes& attributes, size_t outputs = 1);

}  // namespace lathe::op
