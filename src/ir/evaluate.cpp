#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/graph.h"
#include "op/bindings.h"
#include "tensor/load_in_place.h"

namespace lathe::ir {
namespace {

using op::Bindings;
using Inputs = std::map<std::string, op::Datum>;

// Nodes that `wanted` depends on, and how often each value is used by them.
struct Needed {
  std::set<NodeId> nodes;
  std::map<Value, int64_t> uses;
};

Needed find_needed(const Graph& graph, const std::vector<Value>& wanted) {
  Needed needed;
  for (const Value value : wanted) ++needed.uses[value];
  const auto order = graph.nodes();
  for (auto it = order.rbegin(); it != order.rend(); ++it) {
    const Node& node = graph.node(*it);
    const bool used = std::any_of(node.outputs.begin(), node.outputs.end(),
                                  [&](Value output) { return needed.uses.contains(output); });
    if (!used) continue;
    needed.nodes.insert(*it);
    for (const Value input : node.inputs) {
      if (input) ++needed.uses[input];
    }
  }
  return needed;
}

Bindings bindings_of(const Graph& graph, const Inputs& inputs);

class Evaluation {
 public:
  Evaluation(const Graph& graph, const Inputs& inputs, const EvaluateOptions& options)
      : graph_(graph), options_(options), bindings_(bindings_of(graph, inputs)) {
    const auto outputs = graph.outputs();
    wanted_ = options.results.empty() ? std::vector<Value>(outputs.begin(), outputs.end()) : options.results;
    needed_ = find_needed(graph, wanted_);
    for (const auto& [value, uses] : needed_.uses) {
      if (graph.kind(value) != ValueKind::input) continue;
      const auto it = inputs.find(graph.name(value));
      if (it == inputs.end() && op::is_optional(graph.type(value))) {
        alive_.emplace(value, op::Datum());
        continue;
      }
      if (it == inputs.end()) {
        fail(ErrorCode::invalid_input, "input \"{}\" ({}) is missing", graph.name(value),
             op::to_string(graph.type(value)));
      }
      alive_.emplace(value, it->second);
    }
  }

  std::map<std::string, op::Datum> run() {
    bool go_on = true;
    for (const NodeId id : graph_.nodes()) {
      if (!go_on) break;
      if (needed_.nodes.contains(id)) go_on = run_node(id);
    }
    std::map<std::string, op::Datum> results;
    for (const Value value : wanted_) {
      if (graph_.is_constant(value))
        results.emplace(graph_.name(value), datum_of(value));
      else if (alive_.contains(value))
        results.emplace(graph_.name(value), alive_.at(value));
    }
    return results;
  }

 private:
  bool run_node(NodeId id) {
    const Node& node = graph_.node(id);
    const std::string& name = node.name.empty() ? graph_.name(node.outputs[0]) : node.name;
    return with_context(fmt::format("node {} ({})", name, node.op), [&] {
      std::vector<op::Datum> inputs;
      for (const Value input : node.inputs) inputs.push_back(input ? datum_of(input) : op::Datum());
      auto results = op::evaluate_data(op::get_op(node.op), std::move(inputs), node.attributes, node.outputs.size(),
                                       options_.limits);
      bool go_on = true;
      for (size_t i = 0; i < results.size(); ++i) {
        const Value output = node.outputs[i];
        if (!output) continue;
        check_result(output, results[i]);
        if (go_on && options_.observe && results[i].is_tensor()) go_on = options_.observe(output, results[i].tensor());
        if (needed_.uses.contains(output)) alive_.emplace(output, std::move(results[i]));
      }
      for (const Value input : node.inputs) release(input);
      return go_on;
    });
  }

  const op::Datum& datum_of(Value value) {
    auto it = alive_.find(value);
    if (it == alive_.end()) it = alive_.emplace(value, tensor::load_in_place(graph_.source(value))).first;
    return it->second;
  }

  void release(Value value) {
    if (!value || --needed_.uses.at(value) > 0) return;
    alive_.erase(value);
    if (!graph_.is_constant(value)) return;
    const tensor::Source& source = *graph_.source(value);
    if (!graph_.small_constant(value)) source.drop_rows(0, source.rows());
  }

  // Inference assumed that symbols which met in a broadcast are equal; here the numbers show.
  void check_result(Value value, const op::Datum& datum) const {
    const op::TypeInfo& type = graph_.type(value);
    bool good = op::fits(type, datum);
    for (size_t i = 0; good && datum.is_tensor() && i < type.shape.size(); ++i) {
      const auto dim = type.shape[i].bind(bindings_).constant();
      good = !dim || *dim == datum.tensor().dims()[i];
    }
    if (good) return;
    fail(ErrorCode::invalid_input, "result %{}: inferred {}, found {}", graph_.name(value), op::to_string(type),
         op::describe(datum));
  }

  const Graph& graph_;
  const EvaluateOptions& options_;
  Bindings bindings_;
  std::vector<Value> wanted_;
  Needed needed_;
  std::map<Value, op::Datum> alive_;
};

Bindings bindings_of(const Graph& graph, const Inputs& inputs) {
  std::map<std::string, const op::TypeInfo*, std::less<>> declared;
  for (const Value input : graph.inputs()) declared.emplace(graph.name(input), &graph.type(input));
  return op::bind_inputs(fmt::format("graph {}", graph.name()), declared, inputs);
}

}  // namespace

Bindings bind_symbols(const Graph& graph, const std::map<std::string, tensor::Tensor>& inputs) {
  return bindings_of(graph, Inputs(inputs.begin(), inputs.end()));
}

std::map<std::string, op::Datum> evaluate_data(const Graph& graph, const Inputs& inputs,
                                               const EvaluateOptions& options) {
  return Evaluation(graph, inputs, options).run();
}

std::map<std::string, tensor::Tensor> evaluate(const Graph& graph, const std::map<std::string, tensor::Tensor>& inputs,
                                               const EvaluateOptions& options) {
  std::map<std::string, tensor::Tensor> tensors;
  for (auto& [name, datum] : evaluate_data(graph, Inputs(inputs.begin(), inputs.end()), options)) {
    tensors.emplace(name, with_context(fmt::format("output \"{}\"", name), [&] { return datum.tensor(); }));
  }
  return tensors;
}

}  // namespace lathe::ir
