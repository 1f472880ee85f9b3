#include <algorithm>
#include <set>

#include "base/error.h"
#include "ir/graph.h"

namespace lathe::ir {
namespace {

using Bindings = std::map<std::string, int64_t, std::less<>>;
using Inputs = std::map<std::string, op::Datum>;

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

std::string describe(const op::Datum& datum) {
  if (datum.is_sequence()) return fmt::format("a sequence of {}", datum.items().size());
  if (!datum.is_tensor()) return "nothing";
  return fmt::format("{}{}", to_string(datum.tensor().dtype()), tensor::to_string(std::span(datum.tensor().dims())));
}

// Whether a value of this type can be that datum, as far as dtypes, forms and ranks tell.
bool fits(const op::TypeInfo& type, const op::Datum& datum) {
  const bool known = type.dtype != tensor::DType::undefined;
  if (!known && type.form == op::Form::tensor) return true;
  if (!datum.defined()) return type.form == op::Form::optional_tensor || type.form == op::Form::optional_sequence;
  if (datum.is_sequence()) {
    if (type.form != op::Form::sequence && type.form != op::Form::optional_sequence) return false;
    return !known || std::all_of(datum.items().begin(), datum.items().end(),
                                 [&](const tensor::Tensor& item) { return item.dtype() == type.dtype; });
  }
  if (type.form != op::Form::tensor && type.form != op::Form::optional_tensor) return false;
  if (known && datum.tensor().dtype() != type.dtype) return false;
  return !type.ranked || type.form != op::Form::tensor || size_t(datum.tensor().rank()) == type.shape.size();
}

void check_input(const Graph& graph, Value input, const op::Datum& datum) {
  const op::TypeInfo& type = graph.type(input);
  if (fits(type, datum)) return;
  fail(ErrorCode::invalid_input, "input \"{}\": expected {}, found {}", graph.name(input), op::to_string(type),
       describe(datum));
}

bool is_optional(const op::TypeInfo& type) {
  return type.form == op::Form::optional_tensor || type.form == op::Form::optional_sequence;
}

Bindings bindings_of(const Graph& graph, const Inputs& inputs);

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
      : graph_(graph), options_(options), bindings_(bindings_of(graph, inputs)) {
    const auto outputs = graph.outputs();
    wanted_ = options.results.empty() ? std::vector<Value>(outputs.begin(), outputs.end()) : options.results;
    needed_ = find_needed(graph, wanted_);
    for (const auto& [value, uses] : needed_.uses) {
      if (graph.kind(value) != ValueKind::input) continue;
      const auto it = inputs.find(graph.name(value));
      if (it == inputs.end() && is_optional(graph.type(value))) {
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
  void check_result(Value value, const op::Datum& datum) const {
    const op::TypeInfo& type = graph_.type(value);
    bool good = fits(type, datum);
    for (size_t i = 0; good && datum.is_tensor() && i < type.shape.size(); ++i) {
      const auto dim = type.shape[i].bind(bindings_).constant();
      good = !dim || *dim == datum.tensor().dims()[i];
    }
    if (good) return;
    fail(ErrorCode::invalid_input, "result %{}: inferred {}, found {}", graph_.name(value), op::to_string(type),
         describe(datum));
  }

  const Graph& graph_;
  const EvaluateOptions& options_;
  Bindings bindings_;
  std::vector<Value> wanted_;
  Needed needed_;
  std::map<Value, op::Datum> alive_;
};

Bindings bindings_of(const Graph& graph, const Inputs& inputs) {
  Bindings bindings;
  struct Equation {
    Value input;
    const tensor::Dim* dim;
    int64_t actual;
  };
  std::vector<Equation> open;
  for (const auto& [name, datum] : inputs) {
    const auto value = graph.find(name);
    if (!value || graph.kind(*value) != ValueKind::input) {
      fail(ErrorCode::invalid_input, "graph {} has no input \"{}\"", graph.name(), name);
    }
    check_input(graph, *value, datum);
    const tensor::Shape& shape = graph.type(*value).shape;
    for (size_t i = 0; i < shape.size(); ++i) open.push_back({*value, &shape[i], datum.tensor().dims()[i]});
  }
  // Each round binds what the rounds before made solvable: "past + sequence" waits for one of the two.
  for (size_t before = open.size() + 1; open.size() < before;) {
    before = open.size();
    std::erase_if(
        open, [&](const Equation& e) { return bind_dim(*e.dim, e.actual, bindings, graph.name(e.input)); });
  }
  return bindings;
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
