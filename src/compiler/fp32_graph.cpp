#include "compiler/fp32_graph.h"

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
    const NodeId copy =
        result.add_node(node.op, std::move(inputs), widened(node.attributes), node.name, int(node.outputs.size()));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      mapped[node.outputs[i]] = result.node(copy).outputs[i];
      result.rename(result.node(copy).outputs[i], graph.name(node.outputs[i]));
    }
  }
  for (const Value output : graph.outputs()) result.add_output(mapped.at(output), graph.name(output));
  return result;
}

}  // namespace lathe::compiler
