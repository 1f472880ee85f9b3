#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/graph.h"

namespace lathe::ir {
namespace {

using Bindings = std::map<std::string, int64_t, std::less<>>;
using Inputs = std::map<std::string, tensor::Tensor>;

// Solves `dim == actual` for the one symbol that is not bound yet. False if there are several: their other
// uses will tell. Throws when no whole number fits.
bool bind_dim(const tensor::Dim& declared, int64_t actual, Bindings& bindings, std::string_view input) {
  const tensor::Dim dim = declared.bind(bindings);
  const auto mismatch = [&] {
    fail(ErrorCode::invalid_input, "input \"{}\": dimension {} is {}, found {}", input, declared.to_string(),
         dim.is_constant() ? dim.to_string() : "not solvable", actual);
  };
  if (dim.is_constant()) {
    if (dim.value() != actual) mismatch();
    return true;
  }
  const auto symbols = dim.symbols();
  if (symbols.size() != 1) return false;
  const auto at = [&](int64_t value) { return dim.bind(Bindings{{symbols[0], value}}).value(); };
  const int64_t slope = at(1) - at(0);
  if (at(2) - at(1) != slope) return false;  // a square: not linear
  const int64_t rest = actual - at(0);
  if (slope == 0 || rest % slope != 0 || rest / slope < 0) mismatch();
  bindings.emplace(symbols[0], rest / slope);
  return true;
}

void check_input(const Graph& graph, Value input, const tensor::Tensor& tensor) {
  const op::TypeInfo& type = graph.type(input);
  if (tensor.dtype() != type.dtype || size_t(tensor.rank()) != type.shape.size()) {
    fail(ErrorCode::invalid_input, "input \"{}\": expected {}, found {}{}", graph.name(input),
         op::to_string(type), to_string(tensor.dtype()), tensor::to_string(std::span(tensor.dims())));
  }
}

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

class Evaluation {
 public:
  Evaluation(const Graph& graph, const Inputs& inputs, const EvaluateOptions& options)
      : graph_(graph), options_(options), bindings_(bind_symbols(graph, inputs)) {
    const auto outputs = graph.outputs();
    wanted_ = options.results.empty() ? std::vector<Value>(outputs.begin(), outputs.end()) : options.results;
    needed_ = find_needed(graph, wanted_);
    for (const auto& [value, uses] : needed_.uses) {
      if (graph.kind(value) != ValueKind::input) continue;
      const auto it = inputs.find(graph.name(value));
      if (it == inputs.end()) {
        fail(ErrorCode::invalid_input, "input \"{}\" ({}) is missing", graph.name(value),
             op::to_string(graph.type(value)));
      }
      alive_.emplace(value, it->second);
    }
  }

  std::map<std::string, tensor::Tensor> run() {
    bool go_on = true;
    for (const NodeId id : graph_.nodes()) {
      if (!go_on) break;
      if (needed_.nodes.contains(id)) go_on = run_node(id);
    }
    std::map<std::string, tensor::Tensor> results;
    for (const Value value : wanted_) {
      if (graph_.is_constant(value))
        results.emplace(graph_.name(value), tensor_of(value));
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
      std::vector<tensor::Tensor> inputs;
      for (const Value input : node.inputs) inputs.push_back(input ? tensor_of(input) : tensor::Tensor());
      auto results =
          op::evaluate(op::get_op(node.op), std::move(inputs), node.attributes, node.outputs.size());
      bool go_on = true;
      for (size_t i = 0; i < results.size(); ++i) {
        const Value output = node.outputs[i];
        if (!output) continue;
        check_result(output, results[i]);
        if (go_on && options_.observe) go_on = options_.observe(output, results[i]);
        if (needed_.uses.contains(output)) alive_.emplace(output, std::move(results[i]));
      }
      for (const Value input : node.inputs) release(input);
      return go_on;
    });
  }

  const tensor::Tensor& tensor_of(Value value) {
    auto it = alive_.find(value);
    if (it == alive_.end()) it = alive_.emplace(value, load_constant(*graph_.source(value), value)).first;
    return it->second;
  }

  // Without a copy where the stored bytes can be read in place.
  tensor::Tensor load_constant(const tensor::Source& source, Value value) const {
    const auto bytes = source.contiguous();
    const bool plain = source.encoding() == tensor::Encoding::plain;
    // load() checks that booleans are 0 or 1.
    if (!bytes || !plain || source.dtype() == tensor::DType::boolean) return tensor::load(source);
    const size_t alignment = std::max(size_t{1}, size_t(tensor::bits(source.dtype())) / 8);
    if (reinterpret_cast<uintptr_t>(bytes->data()) % alignment != 0) return tensor::load(source);
    return tensor::Tensor::view(source.dtype(), source.dims(), *bytes, graph_.source(value));
  }

  void release(Value value) {
    if (!value || --needed_.uses.at(value) > 0) return;
    alive_.erase(value);
    if (!graph_.is_constant(value)) return;
    const tensor::Source& source = *graph_.source(value);
    if (!graph_.small_constant(value)) source.drop_rows(0, source.rows());
  }

  // Inference assumed that symbols which met in a broadcast are equal; here the numbers show.
  void check_result(Value value, const tensor::Tensor& tensor) const {
    const op::TypeInfo& type = graph_.type(value);
    bool fits = tensor.dtype() == type.dtype && size_t(tensor.rank()) == type.shape.size();
    for (size_t i = 0; fits && i < type.shape.size(); ++i) {
      const auto dim = type.shape[i].bind(bindings_).constant();
      fits = !dim || *dim == tensor.dims()[i];
    }
    if (fits) return;
    fail(ErrorCode::invalid_input, "result %{}: inferred {}, found {}{}", graph_.name(value),
         op::to_string(type), to_string(tensor.dtype()), tensor::to_string(std::span(tensor.dims())));
  }

  const Graph& graph_;
  const EvaluateOptions& options_;
  Bindings bindings_;
  std::vector<Value> wanted_;
  Needed needed_;
  std::map<Value, tensor::Tensor> alive_;
};

}  // namespace

Bindings bind_symbols(const Graph& graph, const Inputs& inputs) {
  Bindings bindings;
  struct Equation {
    Value input;
    const tensor::Dim* dim;
    int64_t actual;
  };
  std::vector<Equation> open;
  for (const auto& [name, tensor] : inputs) {
    const auto value = graph.find(name);
    if (!value || graph.kind(*value) != ValueKind::input) {
      fail(ErrorCode::invalid_input, "graph {} has no input \"{}\"", graph.name(), name);
    }
    check_input(graph, *value, tensor);
    const tensor::Shape& shape = graph.type(*value).shape;
    for (size_t i = 0; i < shape.size(); ++i) open.push_back({*value, &shape[i], tensor.dims()[i]});
  }
  // Each round binds what the rounds before made solvable: "past + sequence" waits for one of the two.
  for (size_t before = open.size() + 1; open.size() < before;) {
    before = open.size();
    std::erase_if(
        open, [&](const Equation& e) { return bind_dim(*e.dim, e.actual, bindings, graph.name(e.input)); });
  }
  return bindings;
}

std::map<std::string, tensor::Tensor> evaluate(const Graph& graph, const Inputs& inputs,
                                               const EvaluateOptions& options) {
  return Evaluation(graph, inputs, options).run();
}

}  // namespace lathe::ir
