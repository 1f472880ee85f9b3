#include "opt/contrib.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "ir/body.h"
#include "opt/match.h"

namespace lathe::opt {

#include "opt_contrib_declarations.inc"

namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;

constexpr const ContribRule& (*kFunctions[])() = {
#include "opt_contrib_entries.inc"
};

// The nodes between the inputs of a call and its results, as a graph of their own.
class Meaning {
 public:
  Meaning(const Graph& from, const ContribCall& call) : from_(from) {
    for (size_t i = 0; i < call.inputs.size(); ++i) {
      if (!call.inputs[i]) continue;
      op::TypeInfo type = from.type(call.inputs[i]);
      type.elements.reset();
      mapped_[call.inputs[i]] = graph_.add_input(fmt::format("x{}", i), std::move(type));
    }
    for (size_t i = 0; i < call.results.size(); ++i) {
      if (call.results[i]) graph_.add_output(copy(call.results[i]), fmt::format("y{}", i));
    }
  }

  Graph take() { return std::move(graph_); }

 private:
  Value copy(Value value) {
    if (!value) return {};
    if (const auto it = mapped_.find(value); it != mapped_.end()) return it->second;
    if (from_.is_constant(value)) {
      return mapped_[value] = graph_.add_constant(from_.source_name(value), from_.source(value));
    }
    LATHE_CHECK(from_.producer(value), "{} is no input of the call", from_.name(value));
    const Node& node = from_.node(from_.producer(value));
    std::vector<Value> inputs;
    for (const Value input : node.inputs) inputs.push_back(copy(input));
    const NodeId id =
        graph_.add_node(node.op, std::move(inputs), node.attributes, node.name, int(node.outputs.size()));
    const std::vector<Value> outputs = graph_.node(id).outputs;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (node.outputs[i]) mapped_[node.outputs[i]] = outputs[i];
    }
    return mapped_.at(value);
  }

  const Graph& from_;
  Graph graph_{"meaning"};
  std::map<Value, Value> mapped_;
};

// A node like `like` of the call's inputs of these numbers.
Graph meaning_of(const Graph& from, const ContribCall& call, const Node& like, const std::vector<size_t>& inputs) {
  Graph meaning("meaning");
  std::vector<Value> given(call.inputs.size());
  for (size_t i = 0; i < given.size(); ++i) {
    if (!call.inputs[i]) continue;
    op::TypeInfo type = from.type(call.inputs[i]);
    type.elements.reset();
    given[i] = meaning.add_input(fmt::format("x{}", i), std::move(type));
  }
  std::vector<Value> own;
  for (const size_t i : inputs) own.push_back(i < given.size() ? given[i] : Value());
  while (!own.back()) own.pop_back();
  const NodeId id = meaning.add_node(like.op, std::move(own), like.attributes, "", int(like.outputs.size()));
  const std::vector<Value> outputs = meaning.node(id).outputs;
  for (size_t i = 0; i < call.results.size(); ++i) {
    if (call.results[i]) meaning.add_output(outputs[i], fmt::format("y{}", i));
  }
  return meaning;
}

// Where the call can stand: before all that read its results, after all that it reads. Absent where there is no such
// place.
NodeId place_of(const Graph& graph, const ContribCall& call, NodeId root) {
  const auto order = graph.nodes();
  const auto index = [&](NodeId id) { return std::find(order.begin(), order.end(), id) - order.begin(); };
  auto place = index(root);
  for (const Value result : call.results) {
    if (!result) continue;
    for (const NodeId user : graph.users(result)) place = std::min(place, index(user));
  }
  for (const Value input : call.inputs) {
    if (input && graph.producer(input) && index(graph.producer(input)) >= place) return {};
  }
  return order[size_t(place)];
}

bool replace_by(Graph& graph, const ContribCall& call, NodeId root, NodeId place, Graph meaning) {
  op::Attributes attributes = call.attributes;
  attributes.set("domain", std::string(call.domain));
  attributes.set("operator", std::string(call.op));
  attributes.set("meaning", std::make_shared<const ir::Body>(std::move(meaning)));
  std::vector<Value> wanted;
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < call.results.size(); ++i) {
    if (!call.results[i]) continue;
    wanted.push_back(call.results[i]);
    numbers.push_back(int64_t(i));
  }
  if (numbers.size() != call.results.size()) attributes.set("outputs", numbers);
  const std::string name = graph.node(root).name;
  const NodeId id =
      graph.add_node("lathe.Contrib", call.inputs, std::move(attributes), name, int(wanted.size()), place);
  const std::vector<Value> outputs = graph.node(id).outputs;
  const bool same = std::equal(wanted.begin(), wanted.end(), outputs.begin(),
                               [&](Value a, Value b) { return same_type(graph, a, b); });
  if (!same) {
    graph.erase(id);
    return false;
  }
  for (size_t i = 0; i < wanted.size(); ++i) graph.replace_uses(wanted[i], outputs[i]);
  return true;
}

}  // namespace

std::vector<const ContribRule*> contrib_rules() {
  std::vector<const ContribRule*> rules;
  for (const auto function : kFunctions) rules.push_back(&function());
  std::sort(rules.begin(), rules.end(),
            [](const ContribRule* a, const ContribRule* b) { return a->rule.name < b->rule.name; });
  return rules;
}

void use_contrib(Graph& graph, int opset, const PassOptions& options, std::vector<PassReport>& reports) {
  std::vector<const Rule*> rules;
  for (const ContribRule* rule : contrib_rules()) {
    if (opset < rule->until) rules.push_back(&rule->rule);
  }
  const std::vector<Pass> passes = {
      rewrite_pass("contrib", rules),
      get_pass("constant_folding"),      // shapes that rules ask for
      get_pass("common_subexpression"),  // layers ask for the same ones
      get_pass("dead_code"),
  };
  PassOptions own = options;
  own.level = Level::o4;  // whatever the level is, these were asked for
  if (options.dump) {
    own.dump = [&](std::string_view name, const std::string& text) {
      options.dump(fmt::format("contrib_{}", name), text);
    };
  }
  const std::vector<PassReport> done = run_passes(graph, passes, own);
  reports.insert(reports.end(), done.begin(), done.end());
  PassOptions inside = options;
  inside.checked = false;  // nobody has inputs for a body
  inside.check_inputs.clear();
  inside.in_body = true;
  inside.dump = {};
  for (const NodeId id : std::vector<NodeId>(graph.nodes().begin(), graph.nodes().end())) {
    if (graph.node(id).op == "lathe.Contrib") continue;
    std::map<std::string, Graph> bodies;
    ir::each_body(graph.node(id), [&](const std::string& name, const Graph& body) { bodies.emplace(name, body); });
    for (auto& [name, body] : bodies) {
      use_contrib(body, opset, inside, reports);
      graph.set_attribute(id, name, std::make_shared<const ir::Body>(std::move(body)));
    }
  }
}

bool replace_by_call(Graph& graph, const ContribCall& call, NodeId root) {
  const NodeId place = place_of(graph, call, root);
  return place && replace_by(graph, call, root, place, Meaning(graph, call).take());
}

bool replace_by_call(Graph& graph, const ContribCall& call, NodeId root, const std::vector<size_t>& inputs) {
  const NodeId place = place_of(graph, call, root);
  return place && replace_by(graph, call, root, place, meaning_of(graph, call, graph.node(root), inputs));
}

bool all_f32(const Graph& graph, const std::vector<Value>& values) {
  return std::all_of(values.begin(), values.end(),
                     [&](Value value) { return !value || graph.type(value).dtype == DType::f32; });
}

bool is_vector_along(const Graph& graph, Value value, Value x) {
  const tensor::Shape& vector = graph.type(value).shape;
  const tensor::Shape& shape = graph.type(x).shape;
  return vector.size() == 1 && !shape.empty() && shape.back().is_constant() && vector[0] == shape.back();
}

bool is_last_axis(const Graph& graph, const Node& norm, Value x) {
  const int64_t axis = norm.attributes.get_int("axis", -1);
  return axis == -1 || axis == int64_t(graph.type(x).shape.size()) - 1;
}

std::optional<Biased> find_biased(const Graph& graph, Value sum) {
  const Node* add = find_producer(graph, sum, "Add");
  for (size_t i = 0; add && i < 2; ++i) {
    const Value x = add->inputs[i], bias = add->inputs[1 - i];
    if (same_type(graph, x, sum) && graph.type(x).shape.size() > 1 && is_vector_along(graph, bias, x)) {
      return Biased{x, bias};
    }
  }
  return std::nullopt;
}

std::optional<SkipSum> find_skip_sum(const Graph& graph, Value sum) {
  const Node* add = find_producer(graph, sum, "Add");
  if (!add || !all_f32(graph, {sum})) return std::nullopt;
  const tensor::Shape& shape = graph.type(sum).shape;
  if ((shape.size() != 2 && shape.size() != 3) || !shape.back().is_constant()) return std::nullopt;
  const Value a = add->inputs[0], b = add->inputs[1];
  if (!same_type(graph, a, sum) || !same_type(graph, b, sum)) return std::nullopt;
  for (const auto& [biased, other] : {std::pair(a, b), std::pair(b, a)}) {
    const auto parts = used_once(graph, biased) ? find_biased(graph, biased) : std::nullopt;
    if (parts) return SkipSum{parts->x, other, parts->bias};
  }
  return SkipSum{a, b, {}};
}

}  // namespace lathe::opt
