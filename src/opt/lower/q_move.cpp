// QuantizeLinear(move(x)) = move(QuantizeLinear(x)), for operators that only move elements and one scale for all; the
// same of MaxPool: rounding keeps the order of numbers
#include <algorithm>

#include "opt/linear.h"
#include "opt/quantized.h"

namespace lathe::opt {
namespace {

const ir::Node* find_move(const ir::Graph& graph, ir::Value value) {
  for (const char* op : {"Concat", "DepthToSpace", "Expand", "Flatten", "Identity", "MaxPool", "Reshape",
                         "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"}) {
    const ir::Node* node = find_producer(graph, value, op);
    if (node) return node->outputs.size() == 1 ? node : nullptr;
  }
  // These leave elements out: rounding all of them may be more work, unless they are bytes already.
  for (const char* op : {"Gather", "Slice"}) {
    const ir::Node* node = find_producer(graph, value, op);
    if (node) return find_dequantized_bytes(graph, node->inputs[0]) ? node : nullptr;
  }
  return nullptr;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Node* found = find_move(graph, node.inputs[0]);
  if (!found || !used_once(graph, node.inputs[0]) || !find_quantize(graph, node)) return false;
  if (graph.type(found->inputs[0]).dtype != tensor::DType::f32) return false;
  const ir::Node move = *found;
  std::vector<ir::Value> inputs = move.inputs;
  const size_t count = move.op == "Concat" ? inputs.size() : 1;
  for (size_t i = 0; i < count; ++i) {
    const auto same = std::find(move.inputs.begin(), move.inputs.begin() + ptrdiff_t(i), move.inputs[i]);
    const auto before = size_t(same - move.inputs.begin());
    if (before < i) {
      inputs[i] = inputs[before];
      continue;
    }
    std::vector<ir::Value> quantise = node.inputs;
    quantise[0] = move.inputs[i];
    const ir::NodeId moved = graph.add_node("QuantizeLinear", quantise, node.attributes, node.name, 1, id);
    inputs[i] = graph.node(moved).outputs[0];
  }
  return replace_with(graph, id, move.op, std::move(inputs), move.attributes);
}

}  // namespace

const Rule& q_move_lowering() {
  static const Rule rule{.name = "q_move", .roots = {"QuantizeLinear"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
