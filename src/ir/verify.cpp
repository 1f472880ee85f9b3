#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/body.h"

namespace lathe::ir {
namespace {

std::string describe(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  const bool named = node.outputs.empty() || !node.outputs[0];
  return fmt::format("node {} ({}, %{})", node.name, node.op, named ? "?" : graph.name(node.outputs[0]));
}

void check_inputs(const Graph& graph, NodeId id, const std::set<Value>& defined) {
  for (const Value input : graph.node(id).inputs) {
    if (!input) continue;
    LATHE_CHECK(defined.contains(input) || graph.is_constant(input), "{} uses %{} before it is defined",
                describe(graph, id), graph.name(input));
    const auto users = graph.users(input);
    const auto& inputs = graph.node(id).inputs;
    LATHE_CHECK(std::count(users.begin(), users.end(), id) == std::count(inputs.begin(), inputs.end(), input),
                "{} is missing among the users of %{}", describe(graph, id), graph.name(input));
  }
}

// The outputs' types are what the operator infers from the inputs' types as they are now.
void check_types(const Graph& graph, NodeId id) {
  std::vector<op::TypeInfo> types;
  try {
    types = graph.inferred_types(id);
  } catch (const Error& error) {
    // To the operator it is bad input; in a graph that add_node has accepted it is a bug of whoever changed
    // it.
    fail(ErrorCode::internal, "graph {}: {}: {}", graph.name(), describe(graph, id), error.what());
  }
  const auto& outputs = graph.node(id).outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (!outputs[i]) continue;
    LATHE_CHECK(graph.type(outputs[i]) == types[i], "{}: %{} has type {}, inferred {}", describe(graph, id),
                graph.name(outputs[i]), op::to_string(graph.type(outputs[i])), op::to_string(types[i]));
  }
}

void check_name(const Graph& graph, Value value) {
  LATHE_CHECK(graph.find(graph.name(value)) == value, "name %{} is not unique", graph.name(value));
}

}  // namespace

void verify(const Graph& graph) {
  std::set<Value> defined;
  for (const Value input : graph.inputs()) {
    LATHE_CHECK(graph.kind(input) == ValueKind::input, "%{} is not an input", graph.name(input));
    LATHE_CHECK(defined.insert(input).second, "input %{} is there twice", graph.name(input));
    check_name(graph, input);
  }
  for (const NodeId id : graph.nodes()) {
    LATHE_CHECK(op::find_op(graph.node(id).op) != nullptr, "{}: no such operator", describe(graph, id));
    check_inputs(graph, id, defined);
    for (const Value output : graph.node(id).outputs) {
      if (!output) continue;
      LATHE_CHECK(graph.producer(output) == id && defined.insert(output).second,
                  "{}: %{} has another producer", describe(graph, id), graph.name(output));
      check_name(graph, output);
    }
    check_types(graph, id);
    each_body(graph.node(id), [&](const std::string& attribute, const Graph& body) {
      with_context(fmt::format("{}: {}", describe(graph, id), attribute), [&] { verify(body); });
    });
  }
  std::set<Value> outputs;
  for (const Value output : graph.outputs()) {
    LATHE_CHECK(defined.contains(output) || graph.is_constant(output), "output %{} is not defined",
                graph.name(output));
    LATHE_CHECK(outputs.insert(output).second, "output %{} is there twice", graph.name(output));
  }
}

}  // namespace lathe::ir
