#include "opt/projection.h"

#include "base/error.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;
using tensor::SourcePtr;

bool is_plain_matrix(const Graph& graph, Value value) {
  return graph.is_constant(value) && graph.source(value)->dims().size() == 2 &&
         graph.source(value)->encoding() == tensor::Encoding::plain && tensor::bits(graph.type(value).dtype) >= 8;
}

std::optional<Projection> find_product(const Graph& graph, Value value) {
  const Node* product = find_producer(graph, value, "MatMul");
  if (!product) return std::nullopt;
  Projection found{.x = product->inputs[0], .matrix = product->inputs[1], .bias = {}, .product = graph.producer(value)};
  if (const Node* transpose = find_producer(graph, found.matrix, "Transpose")) {
    found.matrix = transpose->inputs[0];
    found.turned = true;
  }
  return is_plain_matrix(graph, found.matrix) ? std::optional(found) : std::nullopt;
}

// Rows of a [rows, ..] source; a vector has rows of one element.
SourcePtr select_rows(SourcePtr source, int64_t rows, const std::function<int64_t(int64_t)>& map) {
  tensor::Dims dims = source->dims();
  const bool vector = dims.size() == 1;
  if (vector) source = tensor::reshaped_source(std::move(source), {dims[0], 1});
  SourcePtr selected = tensor::row_mapped_source(source, {rows, source->row_elements()}, map);
  return vector ? tensor::reshaped_source(std::move(selected), {rows}) : selected;
}

}  // namespace

std::optional<Projection> find_projection(const Graph& graph, Value value) {
  if (auto product = find_product(graph, value)) return product;
  const Node* sum = find_producer(graph, value, "Add");
  for (size_t i = 0; sum && i < 2; ++i) {
    const Value bias = sum->inputs[i];
    auto product = find_product(graph, sum->inputs[1 - i]);
    if (!product || !graph.is_constant(bias) || !used_once(graph, sum->inputs[1 - i])) continue;
    const tensor::Shape& columns = graph.type(value).shape;
    if (columns.empty() || graph.type(bias).shape != tensor::Shape{columns.back()}) continue;
    if (!same_type(graph, value, sum->inputs[1 - i])) continue;
    product->bias = bias;
    return product;
  }
  return std::nullopt;
}

Value project_columns(Graph& graph, const Projection& whole, int64_t columns,
                      const std::function<int64_t(int64_t)>& map, std::string_view suffix, ir::NodeId before) {
  const std::string name = graph.node(whole.product).name + std::string(suffix);
  const auto add = [&](std::string_view op, std::vector<Value> inputs, op::Attributes attributes = {}) {
    return graph.node(graph.add_node(op, std::move(inputs), std::move(attributes), name, 1, before)).outputs[0];
  };
  const auto part_name = [&](Value constant) { return graph.source_name(constant) + std::string(suffix); };
  const SourcePtr stored = graph.source(whole.matrix);
  const SourcePtr rows = select_rows(whole.turned ? stored : tensor::transposed_source(stored), columns, map);
  Value matrix = graph.add_constant(part_name(whole.matrix), whole.turned ? rows : tensor::transposed_source(rows));
  if (whole.turned) matrix = add("Transpose", {matrix}, {{"perm", std::vector<int64_t>{1, 0}}});
  const Value product = add("MatMul", {whole.x, matrix});
  if (!whole.bias) return product;
  const Value bias = graph.add_constant(part_name(whole.bias), select_rows(graph.source(whole.bias), columns, map));
  return add("Add", {product, bias});
}

}  // namespace lathe::opt
