#include "opt/linear.h"

#include <algorithm>

namespace lathe::opt {

using ir::Value;

namespace {
enum Input : size_t { kX, kResidual, kNormScale, kNormBias, kWeights };
}

bool Linear::has_bias() const {
  return std::any_of(biases.begin(), biases.end(), [](Value bias) { return bool(bias); });
}

std::vector<Value> Linear::inputs() const {
  std::vector<Value> result = {x, residual, norm_scale, norm_bias};
  result.insert(result.end(), weights.begin(), weights.end());
  if (has_bias()) result.insert(result.end(), biases.begin(), biases.end());
  return result;
}

std::optional<Linear> find_linear(const ir::Graph& graph, Value value) {
  const ir::Node* node = find_producer(graph, value, "lathe.Linear");
  if (!node || !used_once(graph, value)) return std::nullopt;
  const auto at = [&](size_t i) { return i < node->inputs.size() ? node->inputs[i] : Value{}; };
  Linear linear{.x = at(kX),
                .residual = at(kResidual),
                .norm_scale = at(kNormScale),
                .norm_bias = at(kNormBias),
                .weights = {},
                .biases = {},
                .attributes = node->attributes};
  const auto parts = size_t(node->attributes.get_int("parts", 1));
  for (size_t part = 0; part < parts; ++part) {
    linear.weights.push_back(at(kWeights + part));
    linear.biases.push_back(at(kWeights + parts + part));
  }
  return linear;
}

bool same_input(const Linear& a, const Linear& b) {
  const auto attribute = [](const Linear& linear, const char* name) { return linear.attributes.find_string(name); };
  return a.x == b.x && a.norm_scale == b.norm_scale && a.norm_bias == b.norm_bias &&
         attribute(a, "norm") == attribute(b, "norm") && attribute(a, "compute") == attribute(b, "compute") &&
         attribute(a, "weights") == attribute(b, "weights") &&
         a.attributes.find_float("epsilon") == b.attributes.find_float("epsilon");
}

Value transposed_constant(ir::Graph& graph, Value w) {
  const std::string name = graph.source_name(w) + ".transposed";
  const tensor::Shape& shape = graph.type(w).shape;
  const auto known = graph.find(name);  // of another product with the same matrix
  if (known && graph.is_constant(*known) && graph.type(*known).shape == tensor::Shape{shape[1], shape[0]})
    return *known;
  return graph.add_constant(name, tensor::transposed_source(graph.source(w)));
}

bool replace_with(ir::Graph& graph, ir::NodeId node, std::string_view op, std::vector<Value> inputs,
                  op::Attributes attributes) {
  const Value old = graph.node(node).outputs[0];
  const std::string name = graph.name(old);
  const std::string node_name = graph.node(node).name;
  const ir::NodeId fused = graph.add_node(op, std::move(inputs), std::move(attributes), node_name, 1, node);
  const Value result = graph.node(fused).outputs[0];
  const bool was_output = graph.is_output(old);
  replace(graph, node, result);
  if (!was_output) {  // an output's name moves with it
    graph.rename(old, name + ".unfused");
    graph.rename(result, name);
  }
  return true;
}

bool replace_with(ir::Graph& graph, ir::NodeId node, const Linear& linear) {
  return replace_with(graph, node, "lathe.Linear", linear.inputs(), linear.attributes);
}

}  // namespace lathe::opt
