#include "ir/traffic.h"

#include <optional>

#include "tensor/source.h"

namespace lathe::ir {
namespace {

std::optional<int64_t> bytes_of(const Graph& graph, Value value) {
  if (!value) return 0;
  if (graph.is_constant(value)) return int64_t(graph.source(value)->byte_size());
  const op::TypeInfo& type = graph.type(value);
  const auto dims = type.is_plain() ? tensor::to_dims(type.shape) : std::nullopt;
  if (!dims || type.dtype == tensor::DType::string) return std::nullopt;
  return int64_t(tensor::byte_size(type.dtype, tensor::element_count(std::span<const int64_t>(*dims))));
}

std::optional<int64_t> bytes_of(const Graph& graph, const Node& node) {
  int64_t sum = 0;
  for (const auto* values : {&node.inputs, &node.outputs}) {
    for (const Value value : *values) {
      const auto bytes = bytes_of(graph, value);
      if (!bytes) return std::nullopt;
      sum += *bytes;
    }
  }
  return sum;
}

}  // namespace

Traffic count_traffic(const Graph& graph) {
  Traffic traffic;
  for (const NodeId id : graph.nodes()) {
    if (const auto bytes = bytes_of(graph, graph.node(id))) traffic.bytes += *bytes;
    else ++traffic.unknown;
  }
  return traffic;
}

}  // namespace lathe::ir
