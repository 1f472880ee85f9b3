// Parts of a graph that are computed again from the values they had in a run: single products, and what leads from
// products to the logits of an attention.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "calibrate/samples.h"
#include "ir/graph.h"
#include "plan/graph_plan.h"
#include "runtime/graph_session.h"

namespace lathe::calibrate {

struct Part {
  std::string result;
  std::string op;                     // of what gives the result
  std::vector<std::string> inputs;    // values that it starts from
  std::vector<std::string> products;  // results of those inside
};

// One for each of `products`, and one for each Attention and Softmax whose logits come from products a few nodes before
// it. Parts whose inputs have no known rank are left out: they cannot be declared.
std::vector<Part> find_parts(const ir::Graph& graph, std::span<const ir::NodeId> products);

// The graph compiled so that a tap shows these of its values; those that turn out to be constants are among its
// outputs. Memory is that of a run, not that of all values. Throws invalid_input for names that the graph does not
// have.
std::shared_ptr<const plan::GraphModel> build_observable(ir::Graph graph, std::span<const std::string> names);

// Runs a model and hands each part what it started from and what it gave, as soon as the run has it.
class PartRuns {
 public:
  PartRuns(std::shared_ptr<const plan::GraphModel> model, std::vector<Part> parts);

  // Called with the part's place in parts(); parts that start from a value known before the run are left out.
  using Visit = std::function<void(size_t index, const GraphData& inputs, const tensor::Tensor& result)>;
  void run(const GraphData& inputs, const runtime::GraphOptions& options, const Visit& visit);

  const std::vector<Part>& parts() const { return parts_; }

 private:
  std::shared_ptr<const plan::GraphModel> model_;
  std::vector<Part> parts_;
  std::map<std::string, std::vector<size_t>, std::less<>> by_result_;
  std::map<std::string, int, std::less<>> readers_;  // parts that start from a value
};

}  // namespace lathe::calibrate
