#include "calibrate/graph_quantizer.h"

#include <algorithm>
#include <set>

#include "backend/device.h"
#include "base/error.h"
#include "calibrate/cost.h"
#include "calibrate/parts.h"
#include "compiler/graph_build.h"
#include "op/values.h"
#include "opt/extract.h"
#include "opt/quantize_choice.h"

namespace lathe::calibrate {
namespace {

using tensor::Tensor;

// A part of the graph that rounds, on these values.
Tensor run_part(const ir::Graph& rounded, const Part& part, const GraphData& inputs,
                const runtime::GraphOptions& options) {
  runtime::GraphSession session(compiler::build_graph(opt::extract(rounded, part.inputs, {part.result})), options);
  return op::clone(session.run(inputs).at(part.result).tensor());
}

// What would round, as nodes of the graph in floats.
std::vector<ir::NodeId> rounding_products(const ir::Graph& floats, const std::vector<opt::QuantizedPlace>& places) {
  std::vector<ir::NodeId> products;
  for (const opt::QuantizedPlace& place : places) {
    if (place.kept.empty()) products.push_back(floats.producer(*floats.find(place.value)));
  }
  return products;
}

// AVX2 widens bytes to 16 bits, the others multiply them as they are.
bool has_fast_bytes(const std::string& isa) {
  const backend::Device& device = backend::get_device("cpu");
  return backend::isa_name(device, device.choose_isa(isa)) != "avx2";
}

}  // namespace

GraphQuantizer::GraphQuantizer(ir::Graph floats, const Samples& samples, const QuantizerOptions& options)
    : floats_(std::move(floats)) {
  opt::prepare_quantization(floats_);
  quantize_.weights = std::make_shared<opt::WeightCache>();
  quantize_.keep = options.keep;
  if (options.only_faster)
    quantize_.keep.merge(opt::products_better_in_floats(floats_, has_fast_bytes(options.run.isa)));
  const std::vector<std::string> fed = opt::activations_to_quantize(floats_, quantize_);
  if (!fed.empty()) {
    ranges_ = measure_ranges(floats_, fed, samples,
                             {.method = options.method, .run = options.run, .progress = options.progress});
  }
  measure(samples, options);
}

void GraphQuantizer::measure(const Samples& samples, const QuantizerOptions& options) {
  ir::Graph rounded = floats_;
  const auto places = opt::quantize(rounded, ranges_, quantize_);
  products_ = places.size();
  const std::vector<ir::NodeId> products = rounding_products(floats_, places);
  if (products.empty()) return;
  std::vector<Part> parts = find_parts(floats_, products);
  std::vector<std::string> shown;
  for (const Part& part : parts) {
    shown.push_back(part.result);
    shown.insert(shown.end(), part.inputs.begin(), part.inputs.end());
  }
  PartRuns runs(build_observable(floats_, shown), std::move(parts));
  std::vector<Noise> noise(runs.parts().size());
  std::set<std::string, std::less<>> unseen;
  for (const ir::NodeId id : products) unseen.insert(floats_.name(floats_.node(id).outputs[0]));
  for (size_t i = 0; i < samples.count; ++i) {
    runs.run(samples.load(i), options.run, [&](size_t index, const GraphData& inputs, const Tensor& result) {
      options.progress({"cost of products", i * noise.size() + index, samples.count * noise.size()});
      unseen.erase(runs.parts()[index].result);
      noise[index].add(result.data<float>(), run_part(rounded, runs.parts()[index], inputs, options.run).data<float>());
    });
  }
  for (size_t i = 0; i < noise.size(); ++i) {
    const Part& part = runs.parts()[i];
    const bool single = part.products[0] == part.result;
    const double db = noise[i].db();
    if (single) costs_.push_back({part.result, db});
    if (db >= options.keep_below) continue;
    const std::string what = single ? "" : fmt::format("{} \"{}\" behind it: ", part.op, part.result);
    for (const std::string& product : part.products) {
      quantize_.keep.emplace(product, fmt::format("{}{:.1f} dB, below {:g}", what, db, options.keep_below));
    }
  }
  for (const std::string& value : unseen) quantize_.keep.emplace(value, "no run shows what 8 bits cost it");
  std::erase_if(costs_, [&](const ProductCost& cost) { return quantize_.keep.contains(cost.value); });
}

ir::Graph GraphQuantizer::graph() const {
  ir::Graph rounded = floats_;
  opt::quantize(rounded, ranges_, quantize_);
  return rounded;
}

std::vector<plan::Island> GraphQuantizer::kept() const {
  ir::Graph rounded = floats_;
  std::vector<plan::Island> islands;
  for (const opt::QuantizedPlace& place : opt::quantize(rounded, ranges_, quantize_)) {
    if (!place.kept.empty()) islands.push_back({place.value, place.kept});
  }
  return islands;
}

size_t GraphQuantizer::keep_worst(size_t count, const std::string& why) {
  std::vector<ProductCost> worst = costs_;
  std::stable_sort(worst.begin(), worst.end(), [](const auto& a, const auto& b) { return a.db < b.db; });
  worst.resize(std::min(count, worst.size()));
  for (const ProductCost& cost : worst) {
    quantize_.keep.emplace(cost.value, fmt::format("{:.1f} dB, among the least: {}", cost.db, why));
  }
  std::erase_if(costs_, [&](const ProductCost& cost) { return quantize_.keep.contains(cost.value); });
  return worst.size();
}

}  // namespace lathe::calibrate
