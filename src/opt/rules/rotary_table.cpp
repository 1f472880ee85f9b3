// cos and sin of Transpose(f * positions) are the two results of lathe.RotaryTable(positions, f), where f [1, n, 1] is
// a constant and positions [batch, 1, seq] are whole numbers cast to f32; and of positions * f, where f is [n] and
// positions [batch, seq, 1]
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// positions [batch, seq] i64 behind f32 with another axis of length 1 at `axis`, put in before or after the cast.
Value positions_behind(const Graph& graph, Value value, int64_t axis) {
  Value axes;
  for (int i = 0; i < 2; ++i) {
    if (const Node* cast = find_producer(graph, value, "Cast")) {
      value = cast->inputs[0];
    } else if (const Node* view = find_producer(graph, value, "Unsqueeze")) {
      value = view->inputs[0];
      axes = view->inputs[1];
    }
  }
  const bool fits = axes && graph.type(value).dtype == tensor::DType::i64 && graph.type(value).shape.size() == 2 &&
                    known_axes(graph, axes, 3) == std::vector<int64_t>{axis};
  return fits ? value : Value{};
}

// The constant f [1, n, 1], however often it is repeated along the first axis.
Value frequencies_behind(const Graph& graph, Value value) {
  if (const Node* expand = find_producer(graph, value, "Expand")) value = expand->inputs[0];
  if (!graph.is_constant(value) || !graph.small_constant(value)) return {};
  const tensor::Dims& dims = graph.small_constant(value)->dims();
  return dims.size() == 3 && dims[0] == 1 && dims[2] == 1 ? value : Value{};
}

struct Angles {
  Value positions;    // [batch, seq] i64
  Value frequencies;  // constant of n numbers
};

std::optional<Angles> find_angles(const Graph& graph, Value angles) {
  if (const Node* transpose = find_producer(graph, angles, "Transpose")) {
    if (permutation(graph, *transpose) != std::vector<int64_t>{0, 2, 1}) return std::nullopt;
    const Node* product = find_producer(graph, transpose->inputs[0], "MatMul");
    if (!product) return std::nullopt;
    return Angles{positions_behind(graph, product->inputs[1], 1), frequencies_behind(graph, product->inputs[0])};
  }
  const Node* product = find_producer(graph, angles, "Mul");
  for (size_t i = 0; product && i < 2; ++i) {
    const Value list = product->inputs[i];
    const bool fits = graph.is_constant(list) && graph.small_constant(list) && graph.type(list).shape.size() == 1;
    if (fits) return Angles{positions_behind(graph, product->inputs[1 - i], 2), list};
  }
  return std::nullopt;
}

bool apply(Graph& graph, ir::NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  if (graph.type(node.inputs[0]).dtype != tensor::DType::f32) return false;
  const auto angles = find_angles(graph, node.inputs[0]);
  if (!angles || !angles->positions || !angles->frequencies) return false;
  const tensor::Tensor& frequencies = *graph.small_constant(angles->frequencies);
  tensor::Shape shape = graph.type(angles->positions).shape;
  shape.push_back(frequencies.size());
  if (graph.type(node.outputs[0]).shape != shape) return false;
  Value list = angles->frequencies;
  if (frequencies.rank() != 1) {
    list = graph.add_constant(graph.source_name(list) + ".flat", frequencies.reshaped({frequencies.size()}));
  }
  const ir::NodeId table = graph.add_node("lathe.RotaryTable", {angles->positions, list}, {}, node.name, 2, id);
  return replace(graph, id, graph.node(table).outputs[node.op == "Cos" ? 0 : 1]);
}

}  // namespace

const Rule& rotary_table_rule() {
  static const Rule rule{.name = "rotary_table", .roots = {"Cos", "Sin"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
