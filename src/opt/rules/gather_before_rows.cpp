// f(x)[rows] = f(x[rows]), for f that works on each row alone: nothing is computed for rows that nobody reads.
#include "opt/linear.h"

namespace lathe::opt {
namespace {

// Whether each row of a matrix is computed from the same row of its inputs alone.
bool is_row_wise(const ir::Node& node) {
  if (node.op == "RMSNormalization" || node.op == "LayerNormalization") {
    const int64_t axis = node.attributes.get_int("axis", -1);
    return axis == -1 || axis == 1;
  }
  return node.op == "lathe.Linear" || op::get_op(node.op).elementwise;
}

// Whether input i of a row-wise node has the rows that are gathered; its other inputs are constants.
bool has_rows(const ir::Graph& graph, ir::Value input) { return input && !graph.is_constant(input); }

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node gather = graph.node(id);
  const ir::Value data = gather.inputs[0];
  if (gather.attributes.get_int("axis", 0) != 0 || graph.type(gather.inputs[1]).shape.size() != 1) return false;
  const ir::NodeId producer = graph.producer(data);
  if (!producer || !used_once(graph, data)) return false;
  const ir::Node node = graph.node(producer);
  if (!is_row_wise(node)) return false;
  const tensor::Shape& shape = graph.type(data).shape;
  if (node.outputs.size() != 1 || shape.size() != 2) return false;
  for (const ir::Value input : node.inputs) {
    if (!input) continue;
    const tensor::Shape& other = graph.type(input).shape;
    if (has_rows(graph, input) ? (other.size() != 2 || other[0] != shape[0])
                               : (node.op != "lathe.Linear" && other.size() > 1)) {
      return false;
    }
  }
  std::vector<ir::Value> inputs = node.inputs;
  for (ir::Value& input : inputs) {
    if (!has_rows(graph, input)) continue;
    const ir::NodeId moved = graph.add_node("Gather", {input, gather.inputs[1]}, gather.attributes, gather.name, 1, id);
    graph.rename(graph.node(moved).outputs[0], graph.name(input) + ".rows");
    input = graph.node(moved).outputs[0];
  }
  const std::string name = graph.name(data);
  const bool was_output = graph.is_output(gather.outputs[0]);
  const ir::NodeId row_wise = graph.add_node(node.op, std::move(inputs), node.attributes, node.name, 1, id);
  const ir::Value result = graph.node(row_wise).outputs[0];
  replace(graph, id, result);
  if (!was_output) {  // the rows that are left keep the name
    graph.rename(data, name + ".all_rows");
    graph.rename(result, name);
  }
  return true;
}

}  // namespace

const Rule& gather_before_rows_rule() {
  static const Rule rule{.name = "gather_before_rows", .roots = {"Gather"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
