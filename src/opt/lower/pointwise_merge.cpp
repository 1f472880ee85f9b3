// f(g(x), y) = (f . g)(x, y), for two programs of which the first has no other reader and the shape of the second
#include <map>

#include "opt/linear.h"
#include "opt/pointwise.h"

namespace lathe::opt {
namespace {

// A kernel keeps so many values of a tile in the first cache.
constexpr size_t kMaxSteps = 24;
constexpr size_t kMaxInputs = 8;

std::vector<op::PointwiseStep> steps_of(const ir::Node& node) {
  return op::parse_steps(*node.attributes.find_strings("steps"), int64_t(node.inputs.size()));
}

bool only_user(const ir::Graph& graph, ir::Value value, ir::NodeId user) {
  if (graph.is_output(value)) return false;
  const auto users = graph.users(value);
  return std::all_of(users.begin(), users.end(), [&](ir::NodeId id) { return id == user; });
}

// Collects the inputs and steps of the merged program.
class Merged {
 public:
  int64_t input(ir::Value value) {
    const auto it = std::find(inputs.begin(), inputs.end(), value);
    if (it != inputs.end()) return it - inputs.begin();
    inputs.push_back(value);
    return int64_t(inputs.size()) - 1;
  }
  // Where each value of `node`'s program is found: inputs as numbers from 0, steps as ~0, ~1, ... until all inputs are
  // known. `known`: inputs that are the results of steps.
  int64_t append(const ir::Node& node, const std::map<ir::Value, int64_t>& known) {
    std::vector<int64_t> places;
    for (const ir::Value value : node.inputs) {
      const auto it = known.find(value);
      places.push_back(it == known.end() ? input(value) : it->second);
    }
    for (op::PointwiseStep step : steps_of(node)) {
      for (op::PointwiseArgument& argument : step.arguments) {
        if (argument.value >= 0) argument.value = places[size_t(argument.value)];
        else if (argument.value == -1) argument.value = kNumber;
      }
      steps.push_back(std::move(step));
      places.push_back(~int64_t(steps.size() - 1));
    }
    return places.back();
  }
  std::vector<std::string> texts() {
    std::vector<std::string> result;
    for (op::PointwiseStep step : steps) {
      for (op::PointwiseArgument& argument : step.arguments) {
        if (argument.value == kNumber) argument.value = -1;
        else if (argument.value < 0) argument.value = int64_t(inputs.size()) + ~argument.value;
      }
      result.push_back(op::to_string(step));
    }
    return result;
  }

  std::vector<ir::Value> inputs;
  std::vector<op::PointwiseStep> steps;

 private:
  static constexpr int64_t kNumber = INT64_MIN;
};

bool apply(ir::Graph& graph, ir::NodeId id, RuleContext&) {
  const ir::Node node = graph.node(id);
  for (const ir::Value value : node.inputs) {
    const ir::Node* first = find_producer(graph, value, "lathe.Pointwise");
    if (!first || !only_user(graph, value, id)) continue;
    // Computing a smaller value once for each element of the larger one would be work for nothing.
    if (graph.type(value).shape != graph.type(node.outputs[0]).shape) continue;
    Merged merged;
    const int64_t result = merged.append(*first, {});
    merged.append(node, {{value, result}});
    if (merged.steps.size() > kMaxSteps || merged.inputs.size() > kMaxInputs) continue;
    op::Attributes attributes;
    attributes.set("steps", merged.texts());
    return replace_with(graph, id, "lathe.Pointwise", merged.inputs, std::move(attributes));
  }
  return false;
}

}  // namespace

const Rule& pointwise_merge_lowering() {
  static const Rule rule{.name = "pointwise_merge", .roots = {"lathe.Pointwise"}, .apply = apply};
  return rule;
}

}  // namespace lathe::opt
