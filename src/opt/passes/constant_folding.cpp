// Computes what does not depend on the inputs: nodes whose inputs are small plain constants, and results
// whose elements inference knows (Shape of known dimensions, and what is derived from it).
#include <algorithm>

#include "base/error.h"
#include "opt/pass.h"
#include "tensor/load_in_place.h"

namespace lathe::opt {
namespace {

// Each; a larger one costs more to store than to compute, above all where it spells something small out.
constexpr int64_t kMaxResultBytes = int64_t{16} << 20;
constexpr int64_t kMaxSpelledBytes = int64_t{1} << 20;
constexpr int64_t kMaxInputBytes = int64_t{16} << 20;  // all of a node

// Bytes of a value whose size is known and whose type the reference computes with; nullopt otherwise.
std::optional<int64_t> known_bytes(const op::TypeInfo& type) {
  using tensor::DType;
  const bool computable =
      type.is_plain() && (tensor::is_integer(type.dtype) || type.dtype == DType::boolean ||
                          type.dtype == DType::f64 || type.dtype == DType::f32 || type.dtype == DType::f16 ||
                          type.dtype == DType::bf16);
  const auto dims = tensor::to_dims(type.shape);
  if (!computable || !dims) return std::nullopt;
  // What constants are read from wants rows of whole bytes.
  if (dims->size() > 1 && tensor::bits(type.dtype) * (dims->back() % 8) % 8 != 0) return std::nullopt;
  return int64_t(tensor::byte_size(type.dtype, tensor::element_count(std::span<const int64_t>(*dims))));
}

// Whether the result is something smaller, written at length.
bool spells_out(std::string_view op) {
  return op == "Cast" || op == "ConstantOfShape" || op == "Expand" || op == "EyeLike" || op == "Range" || op == "Tile";
}

bool can_compute(const ir::Graph& graph, const ir::Node& node) {
  if (!op::get_op(node.op).evaluate) return false;
  int64_t input_bytes = 0;
  for (const ir::Value input : node.inputs) {
    if (!input) continue;
    if (!graph.is_constant(input) || graph.source(input)->encoding() != tensor::Encoding::plain) return false;
    const auto bytes = known_bytes(graph.type(input));
    if (!bytes) return false;
    input_bytes += *bytes;
  }
  const int64_t most = spells_out(node.op) ? kMaxSpelledBytes : kMaxResultBytes;
  return input_bytes <= kMaxInputBytes &&
         std::all_of(node.outputs.begin(), node.outputs.end(),
                     [&](ir::Value output) { return known_bytes(graph.type(output)).value_or(most + 1) <= most; });
}

std::vector<tensor::Tensor> compute(const ir::Graph& graph, const ir::Node& node) {
  return with_context(fmt::format("node {} ({})", node.name, node.op), [&] {
    std::vector<tensor::Tensor> inputs;
    for (const ir::Value input : node.inputs) {
      inputs.push_back(input ? tensor::load_in_place(graph.source(input)) : tensor::Tensor());
    }
    return op::evaluate(op::get_op(node.op), std::move(inputs), node.attributes, node.outputs.size());
  });
}

// The value as a tensor, where inference knows all its elements as numbers.
std::optional<tensor::Tensor> known_tensor(const op::TypeInfo& type) {
  if (!type.elements || !tensor::is_integer(type.dtype)) return std::nullopt;
  const auto numbers = tensor::to_dims(*type.elements);
  const auto dims = tensor::to_dims(type.shape);
  if (!numbers || !dims) return std::nullopt;
  LATHE_CHECK(tensor::element_count(std::span<const int64_t>(*dims)) == int64_t(numbers->size()));
  return tensor::cast(tensor::Tensor::of<int64_t>(*dims, *numbers), type.dtype);
}

// A matrix that is read transposed or widened stays as the checkpoint has it: kernels and exporters store weights
// in whatever order they like, and by their names.
bool is_view_of_weight(const ir::Graph& graph, const ir::Node& node) {
  return (node.op == "Transpose" || node.op == "Cast") && graph.type(node.inputs[0]).shape.size() == 2 &&
         tensor::is_float(graph.type(node.inputs[0]).dtype);
}

// So does one that is quantised: its consumer may compute with the integers, and a file is smaller with them.
bool is_quantised_weight(const ir::Graph& graph, const ir::Node& node) {
  return node.op == "DequantizeLinear" && !graph.type(node.inputs[0]).shape.empty();
}

// The graph has no use for an Identity of a constant, and where one stands it carries an output's name.
bool fold(ir::Graph& graph, ir::NodeId id) {
  const ir::Node node = graph.node(id);
  std::vector<tensor::Tensor> results;
  if (node.op == "Identity" || is_view_of_weight(graph, node) || is_quantised_weight(graph, node)) return false;
  if (can_compute(graph, node)) {
    results = compute(graph, node);
  } else if (auto known =
                 node.outputs.size() == 1 ? known_tensor(graph.type(node.outputs[0])) : std::nullopt) {
    results.push_back(*std::move(known));
  } else {
    return false;
  }
  for (size_t i = 0; i < results.size(); ++i) {
    const ir::Value output = node.outputs[i];
    const std::string name = graph.name(output);
    graph.replace_uses(output, graph.add_constant(name, std::move(results[i])));
  }
  erase_if_dead(graph, id);
  return true;
}

bool run(ir::Graph& graph, PassContext&) {
  const std::vector<ir::NodeId> nodes(graph.nodes().begin(), graph.nodes().end());
  bool changed = false;
  for (const ir::NodeId id : nodes) {
    if (!graph.contains(id)) continue;
    const auto& outputs = graph.node(id).outputs;
    const bool used = std::any_of(outputs.begin(), outputs.end(), [&](ir::Value value) {
      return value && (!graph.users(value).empty() || graph.is_output(value));
    });
    if (used) changed |= fold(graph, id);
  }
  return changed;
}

}  // namespace

const Pass& constant_folding_pass() {
  static const Pass pass{.name = "constant_folding", .run = run};
  return pass;
}

}  // namespace lathe::opt
