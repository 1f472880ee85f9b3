// A graph inside an instruction (the branches of If, the body of Loop), compiled.
#pragma once

#include <memory>
#include <utility>

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

}  // namespace lathe::plan
