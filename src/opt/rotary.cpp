#include "opt/rotary.h"

#include "base/error.h"
#include "opt/formula.h"
#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

constexpr int kMaxDepth = 8;  // of operators between the table and what is doubled

// The operator between a doubled value and one that is doubled, too; nullptr where there is none.
const Node* find_step(const Graph& graph, Value value, size_t& operand) {
  for (const std::string_view op : {"Cos", "Sin"}) {
    operand = 0;
    if (const Node* node = find_producer(graph, value, op)) return node;
  }
  const Node* product = find_producer(graph, value, "Mul");
  if (!product) return nullptr;
  operand = find_number(graph, product->inputs[0]) ? 1 : 0;
  return find_number(graph, product->inputs[1 - operand]) ? product : nullptr;
}

const Node* find_doubling(const Graph& graph, Value value) {
  const Node* concat = find_producer(graph, value, "Concat");
  if (!concat || concat->inputs.size() != 2 || concat->inputs[0] != concat->inputs[1]) return nullptr;
  const int64_t rank = int64_t(graph.type(value).shape.size());
  const int64_t axis = concat->attributes.get_int("axis", 0);
  return axis == -1 || axis == rank - 1 ? concat : nullptr;
}

}  // namespace

bool is_doubled(const Graph& graph, Value value) {
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    if (find_doubling(graph, value)) return true;
    size_t operand = 0;
    const Node* step = find_step(graph, value, operand);
    if (!step) return false;
    value = step->inputs[operand];
  }
  return false;
}

Value half_of(Graph& graph, Value value, NodeId before) {
  if (const Node* doubling = find_doubling(graph, value)) return doubling->inputs[0];
  size_t operand = 0;
  const Node* found = find_step(graph, value, operand);
  LATHE_CHECK(found, "{} is not doubled", graph.name(value));
  const Node step = *found;
  std::vector<Value> inputs = step.inputs;
  inputs[operand] = half_of(graph, inputs[operand], before);
  return graph.node(graph.add_node(step.op, std::move(inputs), step.attributes, step.name, 1, before)).outputs[0];
}

}  // namespace lathe::opt
