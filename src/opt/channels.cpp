#include "opt/channels.h"

#include "opt/linear.h"
#include "tensor/source.h"

namespace lathe::opt {

using ir::Value;
using tensor::Tensor;

std::optional<std::vector<double>> constant_numbers(const ir::Graph& graph, Value value) {
  if (!graph.is_constant(value) || graph.type(value).dtype != tensor::DType::f32) return std::nullopt;
  const Tensor tensor = tensor::load(*graph.source(value));
  const auto floats = tensor.data<float>();
  return std::vector<double>(floats.begin(), floats.end());
}

std::optional<std::vector<double>> channel_numbers(const ir::Graph& graph, Value value, size_t rank, int64_t channels) {
  const tensor::Shape& shape = graph.type(value).shape;
  if (!graph.is_constant(value) || shape.size() > rank) return std::nullopt;
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool is_channels = rank - shape.size() + i == 1 && shape[i] == tensor::Dim(channels);
    if (!is_channels && shape[i] != tensor::Dim(1)) return std::nullopt;
  }
  auto numbers = constant_numbers(graph, value);
  if (numbers && numbers->size() == 1) numbers->resize(size_t(channels), numbers->front());
  return numbers;
}

std::optional<ConstantConv> find_constant_conv(const ir::Graph& graph, Value value) {
  const ir::Node* node = find_producer(graph, value, "Conv");
  if (!node || !used_once(graph, value)) return std::nullopt;
  for (size_t i = 1; i < node->inputs.size(); ++i) {
    if (node->inputs[i] && !graph.is_constant(node->inputs[i])) return std::nullopt;
  }
  const op::TypeInfo& w = graph.type(node->inputs[1]);
  const auto features = w.shape.at(0).constant();
  if (w.dtype != tensor::DType::f32 || !features) return std::nullopt;
  return ConstantConv{*node, *features};
}

bool replace_with_scaled(ir::Graph& graph, ir::NodeId at, const ConstantConv& conv, const std::vector<double>& scale,
                         const std::vector<double>& shift) {
  const Value w = conv.node.inputs[1];
  const Value bias = conv.node.inputs.size() > 2 ? conv.node.inputs[2] : Value{};
  const std::string w_name = graph.source_name(w) + ".scaled";
  const std::string bias_name = (bias ? graph.source_name(bias) : graph.source_name(w) + ".bias") + ".scaled";
  const std::vector<double> weights = *constant_numbers(graph, w);
  const std::vector<double> biases =
      bias ? *constant_numbers(graph, bias) : std::vector<double>(size_t(conv.features), 0.0);
  Tensor new_weights(tensor::DType::f32, *tensor::to_dims(graph.type(w).shape));
  Tensor new_biases(tensor::DType::f32, {conv.features});
  const size_t per_feature = conv.features == 0 ? 0 : weights.size() / size_t(conv.features);
  const auto out = new_weights.data<float>();
  for (size_t i = 0; i < weights.size(); ++i) out[i] = float(weights[i] * scale[i / per_feature]);
  for (size_t f = 0; f < biases.size(); ++f) new_biases.data<float>()[f] = float(biases[f] * scale[f] + shift[f]);
  const Value scaled = graph.add_constant(w_name, new_weights);
  const Value shifted = graph.add_constant(bias_name, new_biases);
  return replace_with(graph, at, "Conv", {conv.node.inputs[0], scaled, shifted}, conv.node.attributes);
}

}  // namespace lathe::opt
