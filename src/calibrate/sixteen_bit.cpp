#include "calibrate/sixteen_bit.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "opt/half_range.h"

namespace lathe::calibrate {
namespace {

using tensor::DType;

// Largest finite magnitude of each f32 value that runs show, inputs included.
using Magnitudes = std::map<std::string, double, std::less<>>;

double magnitude(const tensor::Tensor& value) {
  double largest = 0;
  for (const float number : value.data<float>()) {
    if (std::isfinite(number)) largest = std::max(largest, std::abs(double(number)));
  }
  return largest;
}

Magnitudes measure_magnitudes(const ir::Graph& graph, const Samples& samples, const runtime::GraphOptions& run,
                              const ProgressSink& progress) {
  runtime::GraphSession session(compiler::build_node_by_node(graph), run);
  Magnitudes magnitudes;
  const auto see = [&](const std::string& name, const tensor::Tensor& value) {
    if (value.dtype() != DType::f32) return;
    double& largest = magnitudes[name];
    largest = std::max(largest, magnitude(value));
  };
  session.set_tap(see);
  for (size_t i = 0; i < samples.count; ++i) {
    progress({"magnitudes", i, samples.count});
    const GraphData inputs = samples.load(i);
    for (const auto& [name, datum] : inputs) {
      if (datum.is_tensor()) see(name, datum.tensor());
    }
    session.run(inputs);
  }
  return magnitudes;
}

// Operators whose result may be as large as an input: where that is a constant of a mask, samples that mask nothing do
// not show it.
bool passes_on(std::string_view op) {
  static constexpr std::string_view kOps[] = {
      "Add", "Clip",    "Concat", "ConstantOfShape", "Expand", "Flatten", "Gather",    "Identity",  "Max",
      "Min", "Mul",     "Neg",    "Pad",             "Reshape", "ScatterElements", "ScatterND", "Slice", "Split",
      "Squeeze", "Sub", "Sum",    "Tile",            "Transpose", "Trilu", "Unsqueeze", "Where"};
  return std::find(std::begin(kOps), std::end(kOps), op) != std::end(kOps);
}

// Adds what constants beyond `largest` may make of values.
void add_reach_of_constants(const ir::Graph& graph, double largest, Magnitudes& magnitudes) {
  const auto reach = [&](ir::Value value) {
    if (!value || !graph.type(value).is_plain() || graph.type(value).dtype != DType::f32) return 0.0;
    if (graph.is_constant(value)) return opt::largest_finite(*graph.source(value));
    const auto seen = magnitudes.find(graph.name(value));
    return seen == magnitudes.end() ? 0.0 : seen->second;
  };
  for (const ir::NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    if (!passes_on(node.op)) continue;
    double most = 0;
    for (const ir::Value input : node.inputs) most = std::max(most, reach(input));
    const tensor::Tensor* fill = node.attributes.find_tensor("value");
    if (fill && fill->dtype() == DType::f32) most = std::max(most, magnitude(*fill));
    if (most <= largest) continue;
    for (const ir::Value output : node.outputs) {
      double& known = magnitudes[graph.name(output)];
      known = std::max(known, most);
    }
  }
}

class Search {
 public:
  Search(const ir::Graph& floats, const opt::SixteenBitOptions& options, const SixteenBitBounds& bounds,
         const Samples& samples, const runtime::GraphOptions& run, const ProgressSink& progress)
      : floats_(floats), bounds_(bounds), samples_(samples), run_(run), progress_(progress) {
    cost_.options = options;
  }

  SixteenBitCost find() {
    if (samples_.count == 0) fail(ErrorCode::usage, "no calibration samples");
    ir::Graph rounded = round();
    const auto stays = [](const opt::SixteenBitPlace& place) { return !place.kept.empty(); };
    if (std::all_of(cost_.places.begin(), cost_.places.end(), stays)) {
      fail(ErrorCode::unsupported, "no node can be of {} in opset {}", to_string(cost_.options.type),
           cost_.options.opset);
    }
    magnitudes_ = measure_magnitudes(floats_, samples_, run_, progress_);
    shown_ = magnitudes_;
    add_reach_of_constants(floats_, opt::largest_of(cost_.options.type), magnitudes_);
    if (keep_beyond_range()) rounded = round();
    measure_nodes(rounded);
    if (keep_noisy()) rounded = round();
    for (size_t most = 1; !outputs_hold(rounded); most *= 2) {
      keep_worst(most);
      rounded = round();
    }
    drop_costs_of_kept();
    return std::move(cost_);
  }

 private:
  ir::Graph round() {
    ir::Graph graph = floats_;
    cost_.places = opt::round_to_sixteen_bits(graph, cost_.options);
    return graph;
  }

  void keep(const std::string& value, std::string reason) { cost_.options.keep.emplace(value, std::move(reason)); }

  // A number that is infinite in the type goes on as such, to all that read it.
  bool keep_beyond_range() {
    const double largest = opt::largest_of(cost_.options.type);
    bool any = false;
    for (const opt::SixteenBitPlace& place : cost_.places) {
      if (!place.kept.empty()) continue;
      const ir::Node& node = floats_.node(floats_.producer(*floats_.find(place.value)));
      for (const auto* values : {&node.inputs, &node.outputs}) {
        for (const ir::Value value : *values) {
          const auto seen = value ? magnitudes_.find(floats_.name(value)) : magnitudes_.end();
          if (seen == magnitudes_.end() || seen->second <= largest) continue;
          keep(place.value, fmt::format("\"{}\" can reach {:g}, beyond {:g}", seen->first, seen->second, largest));
          any = true;
        }
      }
    }
    return any;
  }

  void measure_nodes(const ir::Graph& rounded) {
    std::vector<std::string> values;
    for (const opt::SixteenBitPlace& place : cost_.places) {
      const auto value = floats_.find(place.value);
      const bool f32 = value && floats_.type(*value).dtype == DType::f32;
      if (place.kept.empty() && f32 && shown_.contains(place.value)) values.push_back(place.value);
    }
    cost_.nodes = cost_of_nodes(floats_, rounded, values, values, samples_, run_, progress_);
  }

  // With what such a node reads, for it is the rounding of that which its result suffers from.
  bool keep_noisy() {
    bool any = false;
    for (const NodeCost& cost : cost_.nodes) {
      const double db = cost.noise.db();
      if (db >= bounds_.node_db) continue;
      const std::string what = std::isfinite(cost.noise.error)
                                   ? fmt::format("has {:.1f} dB of signal to noise, below {:g} dB", db, bounds_.node_db)
                                   : "is not finite";
      keep(cost.value, "its result " + what);
      for (const std::string& read : computed_inputs(cost.value)) {
        keep(read, fmt::format("the result \"{}\" of what reads it {}", cost.value, what));
      }
      any = true;
    }
    return any;
  }

  // The places whose results the node of `value` reads, also through nodes that are none.
  std::vector<std::string> computed_inputs(const std::string& value) const {
    std::vector<std::string> found;
    std::vector<ir::Value> open = floats_.node(floats_.producer(*floats_.find(value))).inputs;
    std::set<ir::Value> seen;
    while (!open.empty()) {
      const ir::Value read = open.back();
      open.pop_back();
      const ir::NodeId id = read ? floats_.producer(read) : ir::NodeId();
      if (!id || floats_.type(read).dtype != DType::f32 || !seen.insert(read).second) continue;
      const std::string& first = floats_.name(floats_.node(id).outputs[0]);
      if (is_place(first)) found.push_back(first);
      else open.insert(open.end(), floats_.node(id).inputs.begin(), floats_.node(id).inputs.end());
    }
    return found;
  }

  bool is_place(const std::string& value) const {
    return std::any_of(cost_.places.begin(), cost_.places.end(),
                       [&](const auto& place) { return place.value == value; });
  }

  bool outputs_hold(const ir::Graph& rounded) {
    cost_.outputs = cost_of_outputs(floats_, rounded, samples_, run_, progress_);
    return std::all_of(cost_.outputs.begin(), cost_.outputs.end(),
                       [&](const OutputCost& cost) { return holds(cost); });
  }

  bool holds(const OutputCost& cost) const {
    return cost.same_elements ? *cost.same_elements == 1 : cost.noise.psnr() >= bounds_.output_db;
  }

  // Of the nodes that the worst output depends on.
  void keep_worst(size_t most) {
    const auto worst = std::min_element(cost_.outputs.begin(), cost_.outputs.end(), [&](const auto& a, const auto& b) {
      return std::pair(holds(a), a.noise.psnr()) < std::pair(holds(b), b.noise.psnr());
    });
    const std::string what = worst->same_elements
                                 ? fmt::format("output \"{}\" has {:.1f} % of its elements, not all", worst->name,
                                               100 * *worst->same_elements)
                                 : fmt::format("output \"{}\" has {:.1f} dB, below {:g} dB", worst->name,
                                               worst->noise.psnr(), bounds_.output_db);
    const std::set<std::string> part = behind(worst->name);
    std::vector<const NodeCost*> left;
    for (const NodeCost& cost : cost_.nodes) {
      if (part.contains(cost.value) && !cost_.options.keep.contains(cost.value)) left.push_back(&cost);
    }
    if (left.empty()) {
      fail(ErrorCode::verification, "{}, and no node is left to stay in f32", what);
    }
    std::stable_sort(left.begin(), left.end(),
                     [](const NodeCost* a, const NodeCost* b) { return a->noise.db() < b->noise.db(); });
    for (size_t i = 0; i < std::min(most, left.size()); ++i) {
      keep(left[i]->value, fmt::format("with it {}; its own noise is {:.1f} dB", what, left[i]->noise.db()));
    }
  }

  // Names of all that a value depends on, itself included.
  std::set<std::string> behind(const std::string& value) const {
    std::set<std::string> names;
    std::vector<ir::Value> open = {*floats_.find(value)};
    while (!open.empty()) {
      const ir::Value next = open.back();
      open.pop_back();
      if (!next || !names.insert(floats_.name(next)).second || !floats_.producer(next)) continue;
      const ir::Node& node = floats_.node(floats_.producer(next));
      open.insert(open.end(), node.inputs.begin(), node.inputs.end());
      for (const ir::Value output : node.outputs) {
        if (output) names.insert(floats_.name(output));
      }
    }
    return names;
  }

  void drop_costs_of_kept() {
    std::erase_if(cost_.nodes, [&](const NodeCost& cost) { return cost_.options.keep.contains(cost.value); });
  }

  const ir::Graph& floats_;
  const SixteenBitBounds& bounds_;
  const Samples& samples_;
  const runtime::GraphOptions& run_;
  const ProgressSink& progress_;
  Magnitudes shown_;       // by runs
  Magnitudes magnitudes_;  // and by constants
  SixteenBitCost cost_;
};

}  // namespace

SixteenBitBounds sixteen_bit_bounds(DType type) {
  return type == DType::f16 ? SixteenBitBounds{50, 50} : SixteenBitBounds{35, 35};
}

SixteenBitCost find_sixteen_bits(const ir::Graph& floats, const opt::SixteenBitOptions& options,
                                 const SixteenBitBounds& bounds, const Samples& samples,
                                 const runtime::GraphOptions& run, const ProgressSink& progress) {
  return Search(floats, options, bounds, samples, run, progress).find();
}

}  // namespace lathe::calibrate
