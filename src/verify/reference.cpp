#include "verify/reference.h"

#include <map>

#include "base/error.h"

namespace lathe::verify {

using ir::Value;
using tensor::DType;
using tensor::Tensor;

ir::Graph in_fp32(const ir::Graph& graph) {
  ir::Graph result(graph.name());
  std::map<Value, Value> mapped;
  const auto widened = [](op::TypeInfo type) {
    if (tensor::is_float(type.dtype)) type.dtype = DType::f32;
    return type;
  };
  for (const Value input : graph.inputs()) {
    mapped[input] = result.add_input(graph.name(input), widened(graph.type(input)));
  }
  for (const Value constant : graph.constants()) {
    tensor::SourcePtr source = graph.source(constant);
    if (tensor::is_float(source->dtype()) && source->dtype() != DType::f32) {
      source = tensor::converted_source(std::move(source), DType::f32);
    }
    mapped[constant] = result.add_constant(graph.name(constant), std::move(source));
  }
  for (const ir::NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    op::Attributes attributes = node.attributes;
    for (const char* name : {"to", "dtype"}) {
      const auto dtype = attributes.find_int(name);
      if (dtype && tensor::is_float(DType(*dtype))) attributes.set(name, int64_t(DType::f32));
    }
    std::vector<Value> inputs;
    for (const Value input : node.inputs) inputs.push_back(input ? mapped.at(input) : Value{});
    const ir::NodeId copy =
        result.add_node(node.op, std::move(inputs), std::move(attributes), node.name, int(node.outputs.size()));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (!node.outputs[i]) continue;
      mapped[node.outputs[i]] = result.node(copy).outputs[i];
      result.rename(result.node(copy).outputs[i], graph.name(node.outputs[i]));
    }
  }
  for (const Value output : graph.outputs()) result.add_output(mapped.at(output), graph.name(output));
  return result;
}

void run_reference(const ir::Graph& graph, std::span<const int32_t> tokens, const Observe& observe) {
  const auto count = int64_t(tokens.size());
  Tensor ids(DType::i64, {1, count});
  Tensor mask(DType::i64, {1, count});
  Tensor positions(DType::i64, {1, count});
  for (int64_t i = 0; i < count; ++i) {
    ids.data<int64_t>()[size_t(i)] = tokens[size_t(i)];
    mask.data<int64_t>()[size_t(i)] = 1;
    positions.data<int64_t>()[size_t(i)] = i;
  }
  std::map<std::string, Tensor> inputs;
  for (const Value input : graph.inputs()) {
    const std::string& name = graph.name(input);
    if (name == "input_ids")
      inputs[name] = ids;
    else if (name == "attention_mask")
      inputs[name] = mask;
    else if (name == "position_ids")
      inputs[name] = positions;
    else {  // an empty past
      const tensor::Shape& shape = graph.type(input).shape;
      inputs[name] = Tensor(graph.type(input).dtype, {1, shape.at(1).value(), 0, shape.at(3).value()});
    }
  }
  ir::EvaluateOptions options;
  options.observe = [&](Value value, const Tensor& tensor) {
    if (tensor.dtype() != DType::f32) return true;
    return observe(graph.name(value), graph.node(graph.producer(value)), tensor.data<float>());
  };
  ir::evaluate(graph, inputs, options);
}

}  // namespace lathe::verify
