#include "opt/match.h"

#include <algorithm>

#include "base/error.h"

namespace lathe::opt {
namespace {

std::optional<LastAxisPart> part_of_slice(const ir::Graph& graph, const ir::Node& slice) {
  if (slice.inputs.size() < 4 || !slice.inputs[3]) return std::nullopt;
  const tensor::Shape& shape = graph.type(slice.inputs[0]).shape;
  const auto length = shape.empty() ? std::nullopt : shape.back().constant();
  const auto starts = known_ints(graph, slice.inputs[1]);
  const auto ends = known_ints(graph, slice.inputs[2]);
  const auto axes = known_axes(graph, slice.inputs[3], shape.size());
  if (!length || !starts || !ends || !axes || axes->size() != 1 || (*axes)[0] != int64_t(shape.size()) - 1) {
    return std::nullopt;
  }
  if (slice.inputs.size() > 4 && slice.inputs[4] && known_ints(graph, slice.inputs[4]) != std::vector<int64_t>{1}) {
    return std::nullopt;
  }
  const auto bounded = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + *length : at, 0, *length); };
  return LastAxisPart{slice.inputs[0], bounded((*starts)[0]), bounded((*ends)[0])};
}

std::optional<LastAxisPart> part_of_split(const ir::Graph& graph, const ir::Node& split, ir::Value value) {
  const int64_t rank = int64_t(graph.type(value).shape.size());
  const int64_t axis = split.attributes.get_int("axis", 0);
  if (axis != -1 && axis != rank - 1) return std::nullopt;
  int64_t begin = 0;
  for (const ir::Value output : split.outputs) {
    const auto length = output ? graph.type(output).shape.back().constant() : std::nullopt;
    if (!length) return std::nullopt;
    if (output == value) return LastAxisPart{split.inputs[0], begin, begin + *length};
    begin += *length;
  }
  return std::nullopt;
}

}  // namespace

const ir::Node* find_producer(const ir::Graph& graph, ir::Value value, std::string_view op) {
  const ir::NodeId producer = value ? graph.producer(value) : ir::NodeId();
  if (!producer || graph.node(producer).op != op) return nullptr;
  return &graph.node(producer);
}

const ir::Node* find_view(const ir::Graph& graph, ir::Value value) {
  for (const std::string_view op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze"}) {
    if (const ir::Node* node = find_producer(graph, value, op)) return node;
  }
  return nullptr;
}

bool broadcasts_to(const ir::Graph& graph, ir::Value value, ir::Value to) {
  const tensor::Shape &from = graph.type(value).shape, &shape = graph.type(to).shape;
  if (from.size() > shape.size()) return false;
  const size_t skipped = shape.size() - from.size();
  for (size_t i = 0; i < from.size(); ++i) {
    if (from[i] != tensor::Dim(1) && from[i] != shape[skipped + i]) return false;
  }
  return true;
}

bool same_type(const ir::Graph& graph, ir::Value a, ir::Value b) {
  return graph.type(a).dtype == graph.type(b).dtype && graph.type(a).shape == graph.type(b).shape;
}

bool all_equal(const ir::Graph& graph, ir::Value value, double number) {
  const tensor::Tensor* tensor = graph.small_constant(value);
  if (!tensor || tensor->size() == 0) return false;
  const bool numeric = tensor::is_float(tensor->dtype()) || tensor::is_integer(tensor->dtype());
  if (!numeric || tensor::bits(tensor->dtype()) < 8) return false;
  for (int64_t i = 0; i < tensor->size(); ++i) {
    if (element_as_double(*tensor, i) != number) return false;
  }
  return true;
}

std::optional<std::vector<int64_t>> known_ints(const ir::Graph& graph, ir::Value value) {
  if (!value || !graph.type(value).elements) return std::nullopt;
  return tensor::to_dims(*graph.type(value).elements);
}

std::optional<std::vector<int64_t>> known_axes(const ir::Graph& graph, ir::Value value, size_t rank) {
  auto axes = known_ints(graph, value);
  if (!axes) return std::nullopt;
  for (int64_t& axis : *axes) {
    if (axis < 0) axis += int64_t(rank);
    if (axis < 0 || axis >= int64_t(rank)) return std::nullopt;
  }
  std::sort(axes->begin(), axes->end());
  return axes;
}

bool contains(const std::vector<int64_t>& values, int64_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

std::vector<int64_t> permutation(const ir::Graph& graph, const ir::Node& transpose) {
  if (const auto perm = transpose.attributes.find_ints("perm")) return *perm;
  std::vector<int64_t> perm(graph.type(transpose.inputs[0]).shape.size());
  for (size_t i = 0; i < perm.size(); ++i) perm[i] = int64_t(perm.size() - 1 - i);
  return perm;
}

std::optional<LastAxisPart> find_part(const ir::Graph& graph, ir::Value value) {
  if (const ir::Node* slice = find_producer(graph, value, "Slice")) return part_of_slice(graph, *slice);
  const ir::Node* split = find_producer(graph, value, "Split");
  return split ? part_of_split(graph, *split, value) : std::nullopt;
}

bool joins_last_axis(const ir::Graph& graph, const ir::Node& node) {
  const int64_t rank = int64_t(graph.type(node.outputs[0]).shape.size());
  const int64_t axis = node.attributes.get_int("axis", 0);
  return node.op == "Concat" && (axis == -1 || axis == rank - 1);
}

bool used_once(const ir::Graph& graph, ir::Value value) {
  return graph.users(value).size() == 1 && !graph.is_output(value);
}

ir::Value constant_ints(ir::Graph& graph, const std::vector<int64_t>& values) {
  return graph.add_constant("", tensor::Tensor::of<int64_t>({int64_t(values.size())}, values));
}

bool replace(ir::Graph& graph, ir::NodeId node, ir::Value value) {
  LATHE_CHECK(graph.node(node).outputs.size() == 1, "{} has several outputs", graph.node(node).op);
  graph.replace_uses(graph.node(node).outputs[0], value);
  return true;
}

bool replace_same_type(ir::Graph& graph, ir::NodeId node, ir::NodeId replacement) {
  const ir::Value value = graph.node(replacement).outputs[0];
  if (same_type(graph, graph.node(node).outputs[0], value)) return replace(graph, node, value);
  graph.erase(replacement);
  return false;
}

}  // namespace lathe::opt
