#include "verify/graph_calibration.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "op/values.h"
#include "opt/extract.h"

namespace lathe::verify {
namespace {

using ir::NodeId;
using ir::Value;
using tensor::Tensor;

// Nodes between the logits and the products that they come from.
constexpr int kMostSteps = 8;

// A part of the graph that is computed again: its products round.
struct Probe {
  std::string result;
  std::string op;  // of what gives the result
  std::vector<std::string> inputs;
  std::vector<std::string> products;  // results of those inside
};

bool is_float(const ir::Graph& graph, Value value) {
  return graph.type(value).dtype == tensor::DType::f32;
}

// The products that give the logits of `node` and what else that part reads.
class LogitsPart {
 public:
  LogitsPart(const ir::Graph& graph, const std::set<NodeId>& products) : graph_(graph), products_(products) {}

  std::optional<Probe> find(NodeId id) {
    const ir::Node& node = graph_.node(id);
    const size_t logits = node.op == "Attention" ? 2 : 1;  // q and k, or x
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (i < logits)
        follow(node.inputs[i], 0);
      else
        read(node.inputs[i]);
    }
    Probe probe{graph_.name(node.outputs[0]), node.op, {}, {}};
    std::set<Value> seen;
    collect(node.outputs[0], seen, probe);
    return probe.products.empty() ? std::nullopt : std::optional(std::move(probe));
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
  void collect(Value value, std::set<Value>& seen, Probe& probe) {
    if (!value || graph_.is_constant(value) || !seen.insert(value).second) return;
    if (inputs_.contains(value)) {
      probe.inputs.push_back(graph_.name(value));
      return;
    }
    const NodeId id = graph_.producer(value);
    if (products_.contains(id)) probe.products.push_back(graph_.name(value));
    for (const Value input : graph_.node(id).inputs) collect(input, seen, probe);
  }

  const ir::Graph& graph_;
  const std::set<NodeId>& products_;
  std::set<Value> inputs_, followed_;
};

std::vector<Probe> find_probes(const ir::Graph& graph) {
  std::vector<Probe> probes;
  const std::vector<NodeId> list = opt::roundable_products(graph);
  const std::set<NodeId> products(list.begin(), list.end());
  for (const NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    if (products.contains(id)) {
      Probe probe{graph.name(node.outputs[0]), node.op, {}, {graph.name(node.outputs[0])}};
      for (const Value input : node.inputs) {
        if (input && !graph.is_constant(input)) probe.inputs.push_back(graph.name(input));
      }
      std::sort(probe.inputs.begin(), probe.inputs.end());
      probe.inputs.erase(std::unique(probe.inputs.begin(), probe.inputs.end()), probe.inputs.end());
      probes.push_back(std::move(probe));
    } else if (node.op == "Attention" || node.op == "Softmax") {
      if (auto probe = LogitsPart(graph, products).find(id)) probes.push_back(std::move(*probe));
    }
  }
  // Without a rank an input cannot be declared.
  std::erase_if(probes, [&](const Probe& probe) {
    return std::any_of(probe.inputs.begin(), probe.inputs.end(),
                       [&](const std::string& input) { return !graph.type(*graph.find(input)).is_plain(); });
  });
  return probes;
}

// Root mean square of the difference as a share of that of what was expected; infinite where it is not finite.
double moved(const Tensor& expected, const Tensor& found) {
  const auto a = expected.data<float>(), b = found.data<float>();
  double squares = 0, differences = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i])) continue;  // a mask
    const double difference = double(a[i]) - double(b[i]);
    squares += double(a[i]) * double(a[i]);
    differences += difference * difference;
  }
  if (differences == 0) return 0;
  return squares > 0 ? std::sqrt(differences / squares) : std::numeric_limits<double>::infinity();
}

class Calibrator {
 public:
  Calibrator(const ir::Graph& graph, contract::Precision precision, const CalibrationOptions& options)
      : options_(options), precision_(precision), bound_(moved_bound(precision)), lowered_(graph) {
    compiler::GraphBuildOptions build;
    build.passes = options.passes;
    model_ = compiler::build_graph(graph, build);
    compiler::optimise_graph(lowered_, build);
    compiler::lower_graph(lowered_, build);
    probes_ = find_probes(lowered_);
    for (size_t i = 0; i < probes_.size(); ++i) {
      by_result_[probes_[i].result].push_back(i);
      for (const std::string& input : probes_[i].inputs) ++readers_[input];
    }
    result_.products = int(opt::roundable_products(lowered_).size());
    // The build keeps those by itself.
    ir::Graph rounded = lowered_;
    for (const auto& product : opt::round_products(rounded, compiler::rounding_of_products(precision), {})) {
      kept_.insert(product.name);
    }
  }

  void run(const GraphData& inputs) {
    runtime::GraphSession session(model_,
                                  {.threads = options_.threads, .isa = options_.isa, .limits = options_.limits});
    live_.clear();
    left_ = readers_;
    for (const auto& [name, datum] : inputs) {
      if (datum.is_tensor()) keep(name, datum.tensor());
    }
    session.set_tap([&](const std::string& name, const Tensor& value) { see(name, value); });
    session.run(inputs);
  }

  Calibration finish() { return std::move(result_); }

 private:
  void keep(const std::string& name, const Tensor& value) {
    if (left_.contains(name)) live_.emplace(name, op::clone(value));
  }

  void see(const std::string& name, const Tensor& value) {
    keep(name, value);
    const auto found = by_result_.find(name);
    if (found == by_result_.end()) return;
    for (const size_t i : found->second) {
      const Probe& probe = probes_[i];
      if (value.dtype() == tensor::DType::f32) compare(probe, value);
      for (const std::string& input : probe.inputs) {
        if (--left_[input] == 0) live_.erase(input);
      }
      options_.progress({"calibrate", uint64_t(++done_), uint64_t(probes_.size())});
    }
  }

  void compare(const Probe& probe, const Tensor& expected) {
    const bool known = std::all_of(probe.products.begin(), probe.products.end(),
                                   [&](const std::string& product) { return kept_.contains(product); });
    GraphData inputs;
    for (const std::string& input : probe.inputs) {
      const auto it = live_.find(input);
      if (it == live_.end()) return;  // known before the run: no tap shows it
      inputs.emplace(input, it->second);
    }
    if (known) return;
    const Tensor found = compute(probe, inputs);
    const double share = moved(expected, found);
    if (!(share <= bound_)) {
      const std::string what = probe.products[0] == probe.result
                                   ? "its result"
                                   : fmt::format("the result of {} \"{}\"", probe.op, probe.result);
      const std::string how = std::isfinite(share) ? fmt::format("moves by {:.2g} %", 100 * share) : "is not finite";
      for (const std::string& product : probe.products) {
        if (!kept_.insert(product).second) continue;
        result_.islands.push_back(
            {product, fmt::format("{} {} in {} (bound {:.2g} %)", what, how, to_string(precision_), 100 * bound_)});
      }
    } else if (share > result_.worst) {
      result_.worst = share;
      result_.worst_name = probe.result;
    }
  }

  // The probe's result with its products rounded.
  Tensor compute(const Probe& probe, const GraphData& inputs) {
    ir::Graph part = opt::extract(lowered_, probe.inputs, {probe.result});
    for (const std::string& product : probe.products) {
      if (kept_.contains(product)) continue;
      opt::round_product(part, part.producer(*part.find(product)), compiler::rounding_of_products(precision_));
    }
    compiler::GraphBuildOptions build;
    build.fuse = false;
    runtime::GraphSession session(compiler::build_graph(std::move(part), build),
                                  {.threads = options_.threads, .isa = options_.isa, .limits = options_.limits});
    return op::clone(session.run(inputs).at(probe.result).tensor());
  }

  const CalibrationOptions& options_;
  contract::Precision precision_;
  double bound_;
  ir::Graph lowered_;
  std::shared_ptr<const plan::GraphModel> model_;
  std::vector<Probe> probes_;
  std::map<std::string, std::vector<size_t>> by_result_;
  std::map<std::string, int> readers_, left_;  // probes that read a value, those that still will
  std::map<std::string, Tensor> live_;
  std::set<std::string> kept_;
  Calibration result_;
  size_t done_ = 0;
};

}  // namespace

double moved_bound(contract::Precision precision) {
  // What the whole graph may lose by psnr_bound, were the peak the root mean square.
  return precision == contract::Precision::fp16 ? 1.0 / 316 : 1.0 / 56;
}

Calibration calibrate(const ir::Graph& graph, contract::Precision precision, std::span<const GraphData> calls,
                      const CalibrationOptions& options) {
  Calibrator calibrator(graph, precision, options);
  for (const GraphData& inputs : calls) calibrator.run(inputs);
  return calibrator.finish();
}

}  // namespace lathe::verify
