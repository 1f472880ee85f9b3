// A graph inside a node: what op::Subgraph is made of.
#pragma once

#include "ir/graph.h"
#include "op/subgraph.h"

namespace lathe::ir {

// Immutable; inputs and outputs are positional.
class Body : public op::Subgraph {
 public:
  explicit Body(Graph graph) : graph_(std::move(graph)) {}

  const Graph& graph() const { return graph_; }

  std::vector<op::TypeInfo> input_types() const override;
  std::vector<op::TypeInfo> output_types() const override;
  std::vector<op::Datum> evaluate(std::vector<op::Datum> inputs, const op::RunLimits& limits) const override;
  // Same structure, names of inputs and outputs, and sources.
  bool same_as(const op::Subgraph& other) const override;

 private:
  Graph graph_;
};

// The graph of a body that this layer made; throws internal for another.
const Graph& graph_of(const op::Subgraph& body);
// Calls visit(name of the attribute, graph) for each body of a node, not for bodies inside those.
void each_body(const Node& node, const std::function<void(const std::string&, const Graph&)>& visit);

}  // namespace lathe::ir
