#include "compiler/fp32_graph.h"

#include <algorithm>

#include "base/numbers.h"

namespace lathe::compiler {
namespace {

using ir::Graph;
using ir::NodeId;
using ir::Value;
using tensor::DType;
using tensor::SourcePtr;

op::TypeInfo widened(op::TypeInfo type) {
  if (tensor::is_float(type.dtype)) type.dtype = DType::f32;
  return type;
}

op::Attributes widened(const op::Attributes& attributes) {
  op::Attributes result = attributes;
  for (const char* name : {"to", "dtype"}) {
    const auto dtype = attributes.find_int(name);
    if (dtype && tensor::is_float(DType(*dtype))) result.set(name, int64_t(DType::f32));
  }
  for (const auto& [name, value] : attributes) {
    const auto* tensor = std::get_if<tensor::Tensor>(&value);
    if (tensor && tensor::is_float(tensor->dtype())) result.set(name, tensor::cast(*tensor, DType::f32));
  }
  return result;
}

// Whether every element of an f32 source is one of `dtype`.
bool is_exact(const tensor::Source& source, DType dtype) {
  constexpr int64_t kChunk = int64_t{1} << 18;  // elements read at a time, at least a row
  const int64_t columns = std::max<int64_t>(source.row_elements(), 1);
  const int64_t rows = std::max<int64_t>(kChunk / columns, 1);
  std::vector<float> values;
  for (int64_t first = 0; first < source.rows(); first += rows) {
    const int64_t count = std::min(rows, source.rows() - first);
    values.resize(size_t(count * columns));
    source.read_rows_f32(first, count, values);
    const bool same = std::all_of(values.begin(), values.end(), [&](float value) {
      const float narrow = dtype == DType::f16 ? f16_to_f32(f32_to_f16(value)) : bf16_to_f32(f32_to_bf16(value));
      return narrow == value;
    });
    source.drop_rows(first, count);
    if (!same) return false;
  }
  return true;
}

}  // namespace

Graph in_fp32(const Graph& graph) {
  Graph result(graph.name());
  std::map<Value, Value> mapped;
  for (const Value input : graph.inputs()) {
    mapped[input] = result.add_input(graph.name(input), widened(graph.type(input)));
  }
  for (const Value constant : graph.constants()) {
    SourcePtr source = graph.source(constant);
    if (tensor::is_float(source->dtype()) && source->dtype() != DType::f32) {
      source = tensor::converted_source(std::move(source), DType::f32);
    }
    mapped[constant] = result.add_constant(graph.source_name(constant), std::move(source));
    result.rename(mapped[constant], graph.name(constant));
  }
  for (const NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    std::vector<Value> inputs;
    for (const Value input : node.inputs) inputs.push_back(input ? mapped.at(input) : Value{});
    const NodeId copy = result.add_node(node.op, std::move(inputs), widened(node.attributes), node.name,
                                        int(node.outputs.size()));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      mapped[node.outputs[i]] = result.node(copy).outputs[i];
      result.rename(result.node(copy).outputs[i], graph.name(node.outputs[i]));
    }
  }
  for (const Value output : graph.outputs()) result.add_output(mapped.at(output), graph.name(output));
  return result;
}

void store_narrow_matrices(Graph& graph, DType dtype, const std::set<std::string>& narrow) {
  for (const Value matrix : graph.constants()) {
    const SourcePtr source = graph.source(matrix);
    const bool wide = source->dims().size() == 2 && source->dtype() == DType::f32 &&
                      source->encoding() == tensor::Encoding::plain;
    if (!wide || graph.users(matrix).empty()) continue;
    if (!narrow.contains(source->origin()) && !is_exact(*source, dtype)) continue;
    const std::string name = graph.source_name(matrix);
    const Value stored = graph.add_constant(name + "." + std::string(tensor::to_string(dtype)),
                                            tensor::converted_source(source, dtype));
    const op::Attributes attributes{{"to", int64_t(DType::f32)}};
    const NodeId cast = graph.add_node("Cast", {stored}, attributes, name, 1, graph.nodes()[0]);
    graph.replace_uses(matrix, graph.node(cast).outputs[0]);
  }
}

}  // namespace lathe::compiler
