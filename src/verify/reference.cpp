#include "verify/reference.h"

#include <map>

namespace lathe::verify {

using ir::Value;
using tensor::DType;
using tensor::Tensor;

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
