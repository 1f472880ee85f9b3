#include "ir/body.h"

#include "base/error.h"

namespace lathe::ir {
namespace {

// Text and sources both: two constants of one name and type in different files are different constants.
bool same_sources(const Graph& a, const Graph& b) {
  const std::vector<Value> left = a.constants();
  const std::vector<Value> right = b.constants();
  if (left.size() != right.size()) return false;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!prints_inline(a, left[i]) && a.source(left[i]) != b.source(right[i])) return false;
  }
  return true;
}

}  // namespace

std::vector<op::TypeInfo> Body::input_types() const {
  std::vector<op::TypeInfo> types;
  for (const Value input : graph_.inputs()) types.push_back(graph_.type(input));
  return types;
}

std::vector<op::TypeInfo> Body::output_types() const {
  std::vector<op::TypeInfo> types;
  for (const Value output : graph_.outputs()) types.push_back(graph_.type(output));
  return types;
}

std::vector<op::Datum> Body::evaluate(std::vector<op::Datum> inputs, const op::RunLimits& limits) const {
  LATHE_CHECK(inputs.size() == graph_.inputs().size(), "body {}: {} inputs", graph_.name(), inputs.size());
  std::map<std::string, op::Datum> named;
  for (size_t i = 0; i < inputs.size(); ++i) {
    named.emplace(graph_.name(graph_.inputs()[i]), std::move(inputs[i]));
  }
  EvaluateOptions options;
  options.limits = limits;
  const auto results = evaluate_data(graph_, named, options);
  std::vector<op::Datum> outputs;
  for (const Value output : graph_.outputs()) outputs.push_back(results.at(graph_.name(output)));
  return outputs;
}

bool Body::same_as(const op::Subgraph& other) const {
  const auto* body = dynamic_cast<const Body*>(&other);
  return body && print_canonical(graph_) == print_canonical(body->graph_) && same_sources(graph_, body->graph_);
}

const Graph& graph_of(const op::Subgraph& body) {
  const auto* found = dynamic_cast<const Body*>(&body);
  LATHE_CHECK(found, "a body that is no graph");
  return found->graph();
}

void each_body(const Node& node, const std::function<void(const std::string&, const Graph&)>& visit) {
  for (const auto& [name, value] : node.attributes) {
    if (const auto* body = std::get_if<op::SubgraphPtr>(&value)) visit(name, graph_of(**body));
  }
}

}  // namespace lathe::ir
