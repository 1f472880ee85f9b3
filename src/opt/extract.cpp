#include "opt/extract.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/near_names.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;

std::vector<std::string> all_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Value input : graph.inputs()) names.push_back(graph.name(input));
  for (const NodeId id : graph.nodes()) {
    for (const Value output : graph.node(id).outputs) {
      if (output) names.push_back(graph.name(output));
    }
  }
  return names;
}

std::vector<Value> find_values(const Graph& graph, std::string_view what, const std::vector<std::string>& names) {
  std::vector<Value> values;
  for (const std::string& name : names) {
    const auto value = graph.find(name);
    if (!value) fail(ErrorCode::usage, "{} \"{}\": no such value{}", what, name, near_text(name, all_names(graph)));
    if (std::find(values.begin(), values.end(), *value) != values.end()) {
      fail(ErrorCode::usage, "{} \"{}\": given twice", what, name);
    }
    values.push_back(*value);
  }
  return values;
}

class Extractor {
 public:
  Extractor(const Graph& graph, std::vector<Value> inputs, std::vector<Value> outputs)
      : graph_(graph), inputs_(std::move(inputs)), outputs_(std::move(outputs)), part_(graph.name()) {}

  Graph run() {
    find_needed();
    check_inputs();
    const std::set<Value> given(inputs_.begin(), inputs_.end());
    for (const Value input : graph_.inputs()) {
      if (needed_.contains(input) && !given.contains(input)) add_input(input);
    }
    for (const Value input : inputs_) add_input(input);
    for (const NodeId id : graph_.nodes()) {
      const auto& made = graph_.node(id).outputs;
      if (std::any_of(made.begin(), made.end(),
                      [&](Value v) { return v && needed_.contains(v) && !given.contains(v); })) {
        copy(id);
      }
    }
    for (const Value output : outputs_) part_.add_output(value_of(output), graph_.name(output));
    return std::move(part_);
  }

 private:
  // Values that the outputs depend on, down to the inputs given.
  void find_needed() {
    needed_.insert(outputs_.begin(), outputs_.end());
    const std::set<Value> given(inputs_.begin(), inputs_.end());
    const auto order = graph_.nodes();
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      const Node& node = graph_.node(*it);
      const bool used = std::any_of(node.outputs.begin(), node.outputs.end(),
                                    [&](Value v) { return v && needed_.contains(v) && !given.contains(v); });
      if (!used) continue;
      for (const Value input : node.inputs) {
        if (input) needed_.insert(input);
      }
    }
  }

  void check_inputs() const {
    for (const Value input : inputs_) {
      const std::string& name = graph_.name(input);
      if (graph_.is_constant(input)) fail(ErrorCode::usage, "input \"{}\" is a constant of the graph", name);
      if (!needed_.contains(input)) fail(ErrorCode::usage, "input \"{}\": none of the outputs depends on it", name);
      if (graph_.type(input).dtype == tensor::DType::undefined) {
        fail(ErrorCode::usage, "input \"{}\": only the run knows its type", name);
      }
    }
  }

  void add_input(Value input) {
    op::TypeInfo type = graph_.type(input);
    type.elements.reset();  // what is given may be anything
    values_.emplace(input, part_.add_input(graph_.name(input), std::move(type)));
  }

  Value value_of(Value value) {
    if (!value) return {};
    const auto it = values_.find(value);
    if (it != values_.end()) return it->second;
    LATHE_CHECK(graph_.is_constant(value), "value {}", graph_.name(value));
    const Value copied = part_.add_constant(graph_.source_name(value), graph_.source(value));
    return values_.emplace(value, copied).first->second;
  }

  // The node with its results, those of them excepted that are given.
  void copy(NodeId id) {
    const Node& node = graph_.node(id);
    std::vector<Value> inputs;
    for (const Value input : node.inputs) inputs.push_back(value_of(input));
    const NodeId made =
        part_.add_node(node.op, std::move(inputs), node.attributes, node.name, int(node.outputs.size()));
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      const Value result = node.outputs[i];
      if (!result || values_.contains(result)) continue;
      const Value copied = part_.node(made).outputs[i];
      take_name(copied, graph_.name(result));
      values_.emplace(result, copied);
    }
  }

  // A constant or a result that has the name by chance gives way.
  void take_name(Value value, const std::string& name) {
    const auto holder = part_.find(name);
    if (holder && *holder != value) part_.rename(*holder, "");
    part_.rename(value, name);
  }

  const Graph& graph_;
  std::vector<Value> inputs_;
  std::vector<Value> outputs_;
  Graph part_;
  std::set<Value> needed_;
  std::map<Value, Value> values_;  // of the graph -> of the part
};

}  // namespace

ir::Graph extract(const Graph& graph, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  std::vector<Value> ends = find_values(graph, "output", outputs);
  if (outputs.empty()) ends.assign(graph.outputs().begin(), graph.outputs().end());
  return Extractor(graph, find_values(graph, "input", inputs), std::move(ends)).run();
}

}  // namespace lathe::opt
