// A graph inside an instruction (the branches of If, the body of Loop), compiled.
#pragma once

#include <memory>
#include <utility>

#include "base/error.h"
#include "op/subgraph.h"
#include "plan/graph_plan.h"

namespace lathe::plan {

// Evaluates as the graph that it was made from; a session runs the model instead.
class GraphBody final : public op::Subgraph {
 public:
  GraphBody(op::SubgraphPtr plain, std::shared_ptr<const GraphModel> model)
      : plain_(std::move(plain)), model_(std::move(model)) {}

  const std::shared_ptr<const GraphModel>& model() const { return model_; }
  const op::SubgraphPtr& plain() const { return plain_; }

  std::vector<op::TypeInfo> input_types() const override { return plain_->input_types(); }
  std::vector<op::TypeInfo> output_types() const override { return plain_->output_types(); }
  std::vector<op::Datum> evaluate(std::vector<op::Datum> inputs, const op::RunLimits& limits) const override {
    return plain_->evaluate(std::move(inputs), limits);
  }
  bool same_as(const op::Subgraph& other) const override { return plain_->same_as(other); }

 private:
  op::SubgraphPtr plain_;
  std::shared_ptr<const GraphModel> model_;
};

// What an engine keeps of the graph that a body was made from: its types. The graph itself is in the engine's text.
class BodyTypes final : public op::Subgraph {
 public:
  BodyTypes(std::vector<op::TypeInfo> inputs, std::vector<op::TypeInfo> outputs)
      : inputs_(std::move(inputs)), outputs_(std::move(outputs)) {}

  std::vector<op::TypeInfo> input_types() const override { return inputs_; }
  std::vector<op::TypeInfo> output_types() const override { return outputs_; }
  std::vector<op::Datum> evaluate(std::vector<op::Datum>, const op::RunLimits&) const override {
    fail(ErrorCode::internal, "a graph inside an instruction runs in a session, not by itself");
  }
  bool same_as(const op::Subgraph& other) const override { return this == &other; }

 private:
  std::vector<op::TypeInfo> inputs_, outputs_;
};

// The body of an attribute, or nullptr where it is something else.
inline const GraphBody* find_body(const op::AttributeValue& value) {
  const auto* graph = std::get_if<op::SubgraphPtr>(&value);
  return graph ? dynamic_cast<const GraphBody*>(graph->get()) : nullptr;
}

// Calls visit(constant) for each constant of the plan and of its bodies.
template <class Visit>
void each_constant(const GraphModel& model, const Visit& visit) {
  for (const Constant& constant : model.plan.constants) visit(constant);
  for (const Instruction& instruction : model.plan.instructions) {
    for (const auto& [name, value] : instruction.attributes) {
      if (const GraphBody* body = find_body(value)) each_constant(*body->model(), visit);
    }
  }
}

}  // namespace lathe::plan
