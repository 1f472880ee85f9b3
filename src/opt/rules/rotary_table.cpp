// cos and sin of Transpose(f * positions) are the two results of lathe.RotaryTable(positions, f), where f [1, n, 1] is
// a constant and positions [batch, 1, seq] are whole numbers cast to f32
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;

// positions [batch, seq] i64 behind [batch, 1, seq] f32.
Value positions_behind(const Graph& graph, Value value) {
  const Node* cast = find_producer(graph, value, "Cast");
  const Node* view = cast ? find_producer(graph, cast->inputs[0], "Unsqueeze") : nullptr;
  if (!view || graph.type(view->inputs[0]).dtype != tensor::DType::i64) return {};
  const bool fits =
      graph.type(view->inputs[0]).shape.size() == 2 && known_axes(graph, view->inputs[1], 3) == std::vector<int64_t>{1};
  return fits ? view->inputs[0] : Value{};
}

// The constant f [1, n, 1], however often it is repeated along the first axis.
Value frequencies_behind(const Graph& graph, Value value) {
  if (const Node* expand = find_producer(graph, value, "Expand")) value = expand->inputs[0];
  if (!graph.is_constant(value) || !graph.small_constant(value)) return {};
  const tensor::Dims& dims = graph.small_constant(value)->dims();
  return dims.size() == 3 && dims[0] == 1 && dims[2] == 1 ? value : Value{};
}

bool apply(Graph& graph, ir::NodeId id, RuleContext&) {
  const Node node = graph.node(id);
  const Node* transpose = find_producer(graph, node.inputs[0], "Transpose");
  if (!transpose || permutation(graph, *transpose) != std::vector<int64_t>{0, 2, 1}) return false;
  const Node* product = find_producer(graph, transpose->inputs[0], "MatMul");
  if (!product || graph.type(node.inputs[0]).dtype != tensor::DType::f32) return false;
  const Value frequencies = frequencies_behind(graph, product->inputs[0]);
  const Value positions = positions_behind(graph, product->inputs[1]);
  if (!frequencies || !positions) return false;
  tensor::Shape shape = graph.type(positions).shape;
  shape.push_back(graph.type(frequencies).shape[1]);
  if (graph.type(node.outputs[0]).shape != shape) return false;
  const tensor::Tensor flat = graph.small_constant(frequencies)->reshaped({shape[2].value()});
  const Value list = graph.add_constant(graph.source_name(frequencies) + ".flat", flat);
  const ir::NodeId table = graph.add_node("lathe.RotaryTable", {positions, list}, {}, node.name, 2, id);
  return replace(graph, id, graph.node(table).outputs[node.op == "Cos" ? 0 : 1]);
}

}  // namespace

const Rule& rotary_table_rule() {
  static const Rule rule{.name = "rotary_table", .roots = {"Cos", "Sin"}, .apply = apply, .level = Level::o2};
  return rule;
}

}  // namespace lathe::opt
