// Loop(.., s, ..) whose body gives the state s back as it came = the Loop without it, whose body captures s
#include <algorithm>

#include "ir/body.h"
#include "opt/match.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

constexpr size_t kFirstState = 2;  // among inputs of the node and of the body: behind the count and the condition

// What a value of the body is a name of.
ir::Value source_of(const ir::Graph& body, ir::Value value) {
  while (const ir::Node* identity = find_producer(body, value, "Identity")) value = identity->inputs[0];
  return value;
}

// Which of the states, by number, are the same in every round.
std::vector<size_t> invariants(const ir::Graph& body, size_t states) {
  std::vector<size_t> found;
  for (size_t i = 0; i < states; ++i) {
    if (source_of(body, body.outputs()[1 + i]) == body.inputs()[kFirstState + i]) found.push_back(i);
  }
  return found;
}

bool is_in(const std::vector<size_t>& numbers, size_t number) {
  return std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

// The body with those states behind its captured values, and no longer among its results.
ir::Graph without(ir::Graph body, const std::vector<size_t>& states) {
  const std::vector<ir::Value> outputs(body.outputs().begin(), body.outputs().end());
  std::vector<ir::Value> kept;
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (i == 0 || !is_in(states, i - 1)) kept.push_back(outputs[i]);
  }
  body.replace_outputs(std::move(kept));
  for (const size_t state : states) {
    const ir::Value old = body.inputs()[kFirstState + state];
    body.replace_uses(old, body.add_input(body.name(old) + ".same", body.type(old)));
    // Nothing but the result that is gone may have read the names of it.
    erase_if_dead(body, body.producer(outputs[1 + state]));
  }
  for (size_t i = states.size(); i-- > 0;) body.remove_input(kFirstState + states[i]);
  return body;
}

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  const ir::Graph& body = ir::graph_of(node.attributes.get_graph("body"));
  const int64_t captures = node.attributes.get_int("num_captures", 0);
  const size_t states = node.inputs.size() - kFirstState - size_t(captures);
  std::vector<size_t> same = invariants(body, states);
  // An absent initial value cannot be captured.
  std::erase_if(same, [&](size_t i) { return !node.inputs[kFirstState + i]; });
  const size_t outputs = node.outputs.size() - same.size();
  if (same.empty() || outputs == 0) return false;

  std::vector<ir::Value> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i < kFirstState || !is_in(same, i - kFirstState)) inputs.push_back(node.inputs[i]);
  }
  for (const size_t state : same) inputs.push_back(node.inputs[kFirstState + state]);
  op::Attributes attributes = node.attributes;
  attributes.set("body", std::make_shared<ir::Body>(without(body, same)));
  attributes.set("num_captures", captures + int64_t(same.size()));
  const ir::NodeId loop =
      graph.add_node("Loop", std::move(inputs), std::move(attributes), node.name, int(outputs), id);
  size_t next = 0;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const bool is_same = is_in(same, i);
    const ir::Value now = is_same ? node.inputs[kFirstState + i] : graph.node(loop).outputs[next++];
    if (node.outputs[i]) graph.replace_uses(node.outputs[i], now);
  }
  erase_if_dead(graph, id);
  return true;
}

}  // namespace

const Rule& loop_invariant_rule() {
  static const Rule rule{.name = "loop_invariant", .roots = {"Loop"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
