#include "verify/graph_interface.h"

#include <algorithm>

#include "base/error.h"
#include "op/bindings.h"

namespace lathe::verify {
namespace {

using op::TypeInfo;
using Types = std::map<std::string, TypeInfo>;

Types types_of(const ir::Graph& graph, std::span<const ir::Value> values) {
  Types types;
  for (const ir::Value value : values) types.emplace(graph.name(value), graph.type(value));
  return types;
}

bool compatible(const TypeInfo& a, const TypeInfo& b) {
  const bool floats = tensor::is_float(a.dtype) && tensor::is_float(b.dtype);
  const bool open = a.dtype == tensor::DType::undefined || b.dtype == tensor::DType::undefined;
  if (!open && a.dtype != b.dtype && !floats) return false;
  if (!open && a.form != b.form) return false;
  if (!a.is_plain() || !b.is_plain()) return true;
  if (a.shape.size() != b.shape.size()) return false;
  for (size_t i = 0; i < a.shape.size(); ++i) {
    if (a.shape[i].is_constant() && b.shape[i].is_constant() && a.shape[i] != b.shape[i]) return false;
  }
  return true;
}

void compare(std::string_view kind, const Types& a, const Types& b, std::vector<std::string>& problems) {
  for (const auto& [name, type] : a) {
    const auto it = b.find(name);
    if (it == b.end()) {
      problems.push_back(fmt::format("A has {} \"{}\" {}, B has none", kind, name, op::to_string(type)));
    } else if (!compatible(type, it->second)) {
      problems.push_back(fmt::format("{} \"{}\" is {} in A, {} in B", kind, name, op::to_string(type),
                                     op::to_string(it->second)));
    }
  }
  for (const auto& [name, type] : b) {
    if (!a.contains(name)) {
      problems.push_back(fmt::format("B has {} \"{}\" {}, A has none", kind, name, op::to_string(type)));
    }
  }
}

op::Datum cast(const op::Datum& datum, tensor::DType dtype) {
  if (!datum.is_tensor() || datum.tensor().dtype() == dtype || !tensor::is_float(dtype)) return datum;
  return tensor::cast(datum.tensor(), dtype);
}

}  // namespace

void check_interfaces(const ir::Graph& a, const ir::Graph& b) {
  std::vector<std::string> problems;
  compare("input", types_of(a, a.inputs()), types_of(b, b.inputs()), problems);
  compare("output", types_of(a, a.outputs()), types_of(b, b.outputs()), problems);
  if (problems.empty()) return;
  fail(ErrorCode::invalid_input, "the graphs cannot be compared: {}", fmt::join(problems, "; "));
}

opt::Lengths joint_lengths(const ir::Graph& a, const ir::Graph& b, opt::Lengths lengths) {
  const Types other = types_of(b, b.inputs());
  for (const ir::Value input : a.inputs()) {
    const tensor::Shape& shape = a.type(input).shape;
    const tensor::Shape& fixed = other.at(a.name(input)).shape;
    if (lengths.contains(a.name(input))) continue;
    for (size_t i = 0; i < std::min(shape.size(), fixed.size()); ++i) {
      const auto symbols = shape[i].symbols();
      const bool alone = symbols.size() == 1 && shape[i] == tensor::Dim::symbol(symbols[0]);
      if (alone && fixed[i].is_constant()) lengths.emplace(symbols[0], tensor::Dims{fixed[i].value()});
    }
  }
  return lengths;
}

GraphData inputs_for(const ir::Graph& graph, const GraphData& inputs) {
  GraphData result;
  const Types types = types_of(graph, graph.inputs());
  for (const auto& [name, datum] : inputs) result.emplace(name, cast(datum, types.at(name).dtype));
  return result;
}

GraphData rounded_for(const ir::Graph& a, const ir::Graph& b, const GraphData& inputs) {
  GraphData result;
  const Types in_a = types_of(a, a.inputs()), in_b = types_of(b, b.inputs());
  for (const auto& [name, datum] : inputs) {
    const tensor::DType own = in_a.at(name).dtype;
    result.emplace(name, cast(cast(datum, in_b.at(name).dtype), own));
  }
  return result;
}

}  // namespace lathe::verify
