#include "opt/quantize.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>

#include "base/error.h"
#include "base/near_names.h"
#include "opt/match.h"
#include "opt/pass.h"
#include "opt/pass_manager.h"
#include "opt/pipeline.h"
#include "opt/quantize_weights.h"
#include "opt/rule.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::NodeId;
using ir::Value;
using tensor::DType;
using tensor::Tensor;

// A node that can be quantised: its weights' axis of output features.
struct Site {
  NodeId id;
  int64_t axis = 0;
  std::string kept;  // why not
};

std::string name_of(const Graph& graph, const Node& node) {
  return node.name.empty() ? graph.name(node.outputs[0]) : node.name;
}

bool is_f32(const Graph& graph, Value value) {
  return value && graph.type(value).dtype == DType::f32;
}

std::string why_not(const Graph& graph, const Node& node) {
  if (!is_f32(graph, node.outputs[0])) return "not in f32";
  if (!graph.is_constant(node.inputs[1])) return "its weights are no constant";
  if (graph.source(node.inputs[1])->encoding() != tensor::Encoding::plain) return "its weights are packed already";
  if (graph.is_constant(node.inputs[0])) return "a product of constants";
  const size_t rank = graph.type(node.inputs[1]).shape.size();
  if (node.op == "Conv" && (rank < 3 || rank > 5)) return fmt::format("weights of rank {}", rank);
  if (node.op == "MatMul" && rank != 2) return fmt::format("weights of rank {}", rank);
  if (node.op != "Gemm") return {};
  if (node.attributes.get_float("alpha", 1) != 1 || node.attributes.get_float("beta", 1) != 1) {
    return "alpha or beta is not 1";
  }
  return node.attributes.get_int("transA", 0) != 0 ? "its input is transposed" : "";
}

bool multiplies(const Node& node) {
  return node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
}

std::vector<Site> find_sites(const Graph& graph, const QuantizeOptions& options) {
  std::vector<Site> sites;
  std::set<std::string, std::less<>> unknown;
  for (const auto& [name, reason] : options.keep) unknown.insert(name);
  std::vector<std::string> names;
  for (const NodeId id : graph.nodes()) {
    const Node& node = graph.node(id);
    if (!multiplies(node)) continue;
    Site site{id, node.op == "MatMul" ? 1 : 0, why_not(graph, node)};
    if (node.op == "Gemm" && node.attributes.get_int("transB", 0) == 0) site.axis = 1;
    for (const std::string& name : {node.name, graph.name(node.outputs[0])}) {
      names.push_back(name);
      const auto keep = options.keep.find(name);
      if (keep == options.keep.end()) continue;
      unknown.erase(name);
      if (site.kept.empty()) site.kept = keep->second;
    }
    sites.push_back(std::move(site));
  }
  if (!unknown.empty()) {
    fail(ErrorCode::usage, "no Conv, Gemm or MatMul is called \"{}\"{}", *unknown.begin(),
         near_text(*unknown.begin(), names));
  }
  return sites;
}

// An input of a sum whose result is rounded, with nothing but a Relu or Clip between: a kernel then adds bytes to
// bytes.
struct SumInput {
  NodeId add;
  size_t index;
};

std::vector<SumInput> find_sum_inputs(const Graph& graph, std::span<const Site> sites) {
  std::set<int32_t> rounded;   // values
  std::set<int32_t> products;  // that are computed in 8 bits
  for (const Site& site : sites) {
    if (!site.kept.empty()) continue;
    rounded.insert(graph.node(site.id).inputs[0].id);
    products.insert(graph.node(site.id).outputs[0].id);
  }
  const auto rounds = [&](Value value) {
    if (rounded.contains(value.id)) return true;
    if (!used_once(graph, value)) return false;
    const Node& user = graph.node(graph.users(value)[0]);
    return (user.op == "Relu" || user.op == "Clip") && rounded.contains(user.outputs[0].id);
  };
  std::vector<SumInput> inputs;
  for (const NodeId id : graph.nodes()) {
    const Node& node = graph.node(id);
    if (node.op != "Add" || !rounds(node.outputs[0])) continue;
    if (!same_type(graph, node.inputs[0], node.inputs[1])) continue;  // a bias
    for (size_t i = 0; i < 2; ++i) {
      const Value value = node.inputs[i];
      if (rounded.contains(value.id) || (products.contains(value.id) && used_once(graph, value)))
        inputs.push_back({id, i});
    }
  }
  return inputs;
}

class Quantizer {
 public:
  Quantizer(Graph& graph, const Ranges& ranges, const QuantizeOptions& options)
      : graph_(graph), ranges_(ranges), cache_(options.weights ? options.weights : std::make_shared<WeightCache>()) {}

  void quantize(const Site& site) {
    const Node node = graph_.node(site.id);
    const ByteScale x = scale_of(node.inputs[0]);
    graph_.set_input(site.id, 0, rounded(node.inputs[0]));
    const Weights& weights = weights_of(node.inputs[1], site.axis);
    graph_.set_input(site.id, 1, weights.dequantised);
    const bool has_bias = node.op != "MatMul" && node.inputs.size() > 2 && node.inputs[2];
    if (!has_bias) return;
    if (const Value bias = rounded_bias(node.inputs[2], x.scale, weights.scales)) {
      graph_.set_input(site.id, 2, bias);
    }
  }

  // What sums read rounded: values that are rounded anyway where they come early enough, and results of products.
  void quantize(const SumInput& sum) {
    const Value value = graph_.node(sum.add).inputs[sum.index];
    const auto known = rounded_.find(value.id);
    if (known == rounded_.end()) {
      graph_.set_input(sum.add, sum.index, rounded(value));
    } else if (defined_before(known->second, sum.add)) {
      graph_.set_input(sum.add, sum.index, known->second);
    }
  }

 private:
  struct Weights {
    Value dequantised;
    std::vector<float> scales;
  };

  ByteScale scale_of(Value value) const {
    const std::string& name = graph_.name(value);
    const auto it = ranges_.find(name);
    if (it == ranges_.end()) fail(ErrorCode::invalid_input, "value \"{}\" has no range", name);
    if (!std::isfinite(it->second.low) || !std::isfinite(it->second.high)) {
      fail(ErrorCode::invalid_input, "value \"{}\": {} to {} is no range for 8 bits", name, it->second.low,
           it->second.high);
    }
    return byte_scale(it->second);
  }

  // The value rounded to bytes and back, in front of its first reader.
  Value rounded(Value value) {
    const auto known = rounded_.find(value.id);
    if (known != rounded_.end()) return known->second;
    const ByteScale bytes = scale_of(value);
    const std::string name = graph_.name(value);
    NodeId first;
    for (const NodeId id : graph_.nodes()) {
      const auto& inputs = graph_.node(id).inputs;
      if (std::find(inputs.begin(), inputs.end(), value) == inputs.end()) continue;
      first = id;
      break;
    }
    const Value scale = graph_.add_constant(name + "_scale", Tensor::scalar(bytes.scale));
    const Value zero = graph_.add_constant(name + "_zero_point", Tensor::scalar(uint8_t(bytes.zero)));
    const NodeId quantise =
        graph_.add_node("QuantizeLinear", {value, scale, zero}, {}, name + "_QuantizeLinear", 1, first);
    const Value codes = graph_.node(quantise).outputs[0];
    const NodeId back =
        graph_.add_node("DequantizeLinear", {codes, scale, zero}, {}, name + "_DequantizeLinear", 1, first);
    return rounded_[value.id] = graph_.node(back).outputs[0];
  }

  const Weights& weights_of(Value value, int64_t axis) {
    const auto key = std::pair(value.id, axis);
    const auto known = weights_.find(key);
    if (known != weights_.end()) return known->second;
    const std::string name = graph_.source_name(value);
    const tensor::SourcePtr source = graph_.source(value);
    auto rounded = cache_->find({source, axis});
    if (rounded == cache_->end()) {
      rounded = cache_->emplace(std::pair(source, axis), round_weights(name, source, axis)).first;
    }
    Weights result{{}, rounded->second.scales};
    const Value packed = graph_.add_constant(name + "_quantized", rounded->second.codes);
    result.dequantised = dequantised(name, packed, result.scales, DType::i8, axis);
    return weights_.emplace(key, std::move(result)).first->second;
  }

  // A constant of integers back in f32, in front of everything.
  Value dequantised(const std::string& name, Value codes, const std::vector<float>& scales, DType dtype, int64_t axis) {
    Tensor scale(DType::f32, {int64_t(scales.size())});
    std::copy(scales.begin(), scales.end(), scale.data<float>().begin());
    Tensor zero(dtype, {int64_t(scales.size())});
    std::fill(zero.mutable_bytes().begin(), zero.mutable_bytes().end(), std::byte{0});
    const std::vector<Value> inputs = {codes, graph_.add_constant(name + "_scale", std::move(scale)),
                                       graph_.add_constant(name + "_zero_point", std::move(zero))};
    op::Attributes attributes;
    attributes.set("axis", axis);
    const NodeId id =
        graph_.add_node("DequantizeLinear", inputs, attributes, name + "_DequantizeLinear", 1, graph_.nodes().front());
    return graph_.node(id).outputs[0];
  }

  // In steps of the product; absent where it is no constant vector, or its numbers do not fit 32 bits.
  Value rounded_bias(Value bias, float x_scale, const std::vector<float>& scales) {
    if (!graph_.is_constant(bias) || !is_f32(graph_, bias)) return {};
    const tensor::SourcePtr source = graph_.source(bias);
    if (source->encoding() != tensor::Encoding::plain || source->dims() != tensor::Dims{int64_t(scales.size())})
      return {};
    const std::string name = graph_.source_name(bias);
    std::vector<float> elements(scales.size()), products(scales.size());
    source->read_rows_f32(0, source->rows(), elements);
    Tensor codes(DType::i32, {int64_t(scales.size())});
    const auto out = codes.data<int32_t>();
    for (size_t i = 0; i < elements.size(); ++i) {
      products[i] = x_scale * scales[i];
      const double steps = std::nearbyint(double(elements[i]) / double(products[i]));
      if (!(std::abs(steps) < double(1 << 30)) || !std::isnormal(products[i])) return {};
      out[i] = int32_t(steps);
    }
    const Value packed = graph_.add_constant(name + "_quantized", std::move(codes));
    return dequantised(name, packed, products, DType::i32, 0);
  }

  bool defined_before(Value value, NodeId reader) const {
    const NodeId producer = graph_.producer(value);
    for (const NodeId id : graph_.nodes()) {
      if (id == producer) return true;
      if (id == reader) return false;
    }
    return false;
  }

  Graph& graph_;
  const Ranges& ranges_;
  std::shared_ptr<WeightCache> cache_;
  std::map<int32_t, Value> rounded_;  // by value
  std::map<std::pair<int32_t, int64_t>, Weights> weights_;
};

}  // namespace

ByteScale byte_scale(const Range& range) {
  const double low = std::min(range.low, 0.0), high = std::max(range.high, 0.0);
  const float scale = float((high - low) / 255);
  if (!std::isnormal(scale)) return {};
  return {scale, int(std::clamp(std::nearbyint(-low / double(scale)), 0.0, 255.0))};
}

void prepare_quantization(Graph& graph) {
  optimise(graph, {.level = Level::o1});
  std::vector<const Rule*> rules;
  for (const std::string_view name : {"conv_batch_normalization", "conv_scale_shift", "transposed_constant"}) {
    rules.push_back(find_rule(name));
    LATHE_CHECK(rules.back(), "rule {}", name);
  }
  const std::vector<Pass> passes = {rewrite_pass("fold_into_weights", std::move(rules))};
  run_passes(graph, passes, {.level = Level::o2});
}

std::vector<std::string> activations_to_quantize(const Graph& graph, const QuantizeOptions& options) {
  std::vector<std::string> names;
  const auto note = [&](Value value) {
    const std::string& name = graph.name(value);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  const std::vector<Site> sites = find_sites(graph, options);
  for (const Site& site : sites) {
    if (!site.kept.empty()) continue;
    note(graph.node(site.id).inputs[0]);
  }
  for (const SumInput& sum : find_sum_inputs(graph, sites)) note(graph.node(sum.add).inputs[sum.index]);
  return names;
}

std::vector<QuantizedPlace> quantize(Graph& graph, const Ranges& ranges, const QuantizeOptions& options) {
  std::vector<QuantizedPlace> places;
  const std::vector<Site> sites = find_sites(graph, options);
  const std::vector<SumInput> sums = find_sum_inputs(graph, sites);
  Quantizer quantizer(graph, ranges, options);
  for (const Site& site : sites) {
    const Node& node = graph.node(site.id);
    places.push_back({name_of(graph, node), graph.name(node.outputs[0]), node.op, site.kept});
    if (site.kept.empty()) quantizer.quantize(site);
  }
  for (const SumInput& sum : sums) quantizer.quantize(sum);
  return places;
}

void remove_rounding(Graph& graph) {
  const std::vector<NodeId> nodes(graph.nodes().begin(), graph.nodes().end());
  for (const NodeId id : nodes) {
    const Node& back = graph.node(id);
    if (back.op != "DequantizeLinear") continue;
    const Node* rounding = find_producer(graph, back.inputs[0], "QuantizeLinear");
    if (!rounding || !same_type(graph, rounding->inputs[0], back.outputs[0])) continue;
    graph.replace_uses(back.outputs[0], rounding->inputs[0]);
  }
  run_passes(graph, std::vector<Pass>{get_pass("dead_code")}, {});
}

}  // namespace lathe::opt
