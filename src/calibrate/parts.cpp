#include "calibrate/parts.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "op/values.h"

namespace lathe::calibrate {
namespace {

using ir::NodeId;
using ir::Value;
using tensor::Tensor;

// Nodes between the logits and the products that they come from.
constexpr int kMostSteps = 8;

bool is_float(const ir::Graph& graph, Value value) {
  return graph.type(value).dtype == tensor::DType::f32;
}

// The products that give the logits of a node, and what else that part reads.
class LogitsPart {
 public:
  LogitsPart(const ir::Graph& graph, const std::set<NodeId>& products) : graph_(graph), products_(products) {}

  std::optional<Part> find(NodeId id) {
    const ir::Node& node = graph_.node(id);
    const size_t logits = node.op == "Attention" ? 2 : 1;  // q and k, or x
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (i < logits)
        follow(node.inputs[i], 0);
      else
        read(node.inputs[i]);
    }
    Part part{graph_.name(node.outputs[0]), node.op, {}, {}};
    std::set<Value> seen;
    collect(node.outputs[0], seen, part);
    return part.products.empty() ? std::nullopt : std::optional(std::move(part));
  }

 private:
  void read(Value value) {
    if (value && !graph_.is_constant(value)) inputs_.insert(value);
  }
  void follow(Value value, int steps) {
    if (!value || graph_.is_constant(value)) return;
    if (!is_float(graph_, value) && !followed_.insert(value).second) return;
    const NodeId id = graph_.producer(value);
    if (!id || (is_float(graph_, value) && steps > kMostSteps)) return read(value);
    const ir::Node& node = graph_.node(id);
    const bool product = products_.contains(id);
    for (const Value input : node.inputs) {
      // Lengths come from whatever has them, and no tap shows them: they are computed again.
      const bool measured = !is_float(graph_, value) && input && is_float(graph_, input);
      if (product || measured)
        read(input);
      else
        follow(input, steps + 1);
    }
  }
  // What lies between the inputs and `value`; an input behind another one is none.
  void collect(Value value, std::set<Value>& seen, Part& part) {
    if (!value || graph_.is_constant(value) || !seen.insert(value).second) return;
    if (inputs_.contains(value)) {
      part.inputs.push_back(graph_.name(value));
      return;
    }
    const NodeId id = graph_.producer(value);
    if (products_.contains(id)) part.products.push_back(graph_.name(value));
    for (const Value input : graph_.node(id).inputs) collect(input, seen, part);
  }

  const ir::Graph& graph_;
  const std::set<NodeId>& products_;
  std::set<Value> inputs_, followed_;
};

Part product_part(const ir::Graph& graph, const ir::Node& node) {
  Part part{graph.name(node.outputs[0]), node.op, {}, {graph.name(node.outputs[0])}};
  for (const Value input : node.inputs) {
    if (input && !graph.is_constant(input)) part.inputs.push_back(graph.name(input));
  }
  std::sort(part.inputs.begin(), part.inputs.end());
  part.inputs.erase(std::unique(part.inputs.begin(), part.inputs.end()), part.inputs.end());
  return part;
}

}  // namespace

std::vector<Part> find_parts(const ir::Graph& graph, std::span<const NodeId> products) {
  std::vector<Part> parts;
  const std::set<NodeId> known(products.begin(), products.end());
  for (const NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    if (known.contains(id)) {
      parts.push_back(product_part(graph, node));
    } else if (node.op == "Attention" || node.op == "Softmax") {
      if (auto part = LogitsPart(graph, known).find(id)) parts.push_back(std::move(*part));
    }
  }
  std::erase_if(parts, [&](const Part& part) {
    return std::any_of(part.inputs.begin(), part.inputs.end(),
                       [&](const std::string& input) { return !graph.type(*graph.find(input)).is_plain(); });
  });
  return parts;
}

std::shared_ptr<const plan::GraphModel> build_observable(ir::Graph graph, std::span<const std::string> names) {
  const size_t outputs = graph.outputs().size();
  for (const std::string& name : names) {
    const auto value = graph.find(name);
    if (!value) fail(ErrorCode::invalid_input, "the graph has no value \"{}\"", name);
    if (graph.kind(*value) == ir::ValueKind::result && !graph.is_output(*value)) graph.add_output(*value, name);
  }
  compiler::optimise_graph(graph, {});
  compiler::PlannedGraph planned = compiler::plan_graph(std::move(graph), {});
  // As outputs they were not fused away; being none any more they give their place back. No tap shows constants.
  auto& list = planned.model->plan.outputs;
  list.erase(
      std::remove_if(list.begin() + std::ptrdiff_t(outputs), list.end(),
                     [](const plan::GraphOutput& output) { return output.operand.kind == plan::OperandKind::buffer; }),
      list.end());
  return compiler::load_constants(std::move(planned));
}

PartRuns::PartRuns(std::shared_ptr<const plan::GraphModel> model, std::vector<Part> parts)
    : model_(std::move(model)), parts_(std::move(parts)) {
  for (size_t i = 0; i < parts_.size(); ++i) {
    by_result_[parts_[i].result].push_back(i);
    for (const std::string& input : parts_[i].inputs) ++readers_[input];
  }
}

void PartRuns::run(const GraphData& inputs, const runtime::GraphOptions& options, const Visit& visit) {
  runtime::GraphSession session(model_, options);
  std::map<std::string, Tensor, std::less<>> live;
  auto left = readers_;
  const auto keep = [&](const std::string& name, const Tensor& value) {
    if (left.contains(name)) live.emplace(name, op::clone(value));
  };
  for (const auto& [name, datum] : inputs) {
    if (datum.is_tensor()) keep(name, datum.tensor());
  }
  session.set_tap([&](const std::string& name, const Tensor& value) {
    keep(name, value);
    const auto found = by_result_.find(name);
    if (found == by_result_.end()) return;
    for (const size_t i : found->second) {
      GraphData given;
      for (const std::string& input : parts_[i].inputs) {
        if (const auto it = live.find(input); it != live.end()) given.emplace(input, it->second);
      }
      if (given.size() == parts_[i].inputs.size() && value.dtype() == tensor::DType::f32) visit(i, given, value);
      for (const std::string& input : parts_[i].inputs) {
        if (--left.at(input) == 0) live.erase(input);
      }
    }
  });
  session.run(inputs);
}

}  // namespace lathe::calibrate
