#include "calibrate/ranges.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "calibrate/parts.h"
#include "op/bindings.h"

namespace lathe::calibrate {
namespace {

using opt::Range;
using tensor::Tensor;

constexpr int kCandidates = 100;
constexpr double kSteps = 255;

// The graph that shows these values, running.
class Observer {
 public:
  Observer(ir::Graph graph, std::span<const std::string> names, const runtime::GraphOptions& options)
      : names_(names.begin(), names.end()) {
    for (const std::string& name : names) {
      const auto value = graph.find(name);
      if (!value) fail(ErrorCode::invalid_input, "the graph has no value \"{}\"", name);
      if (graph.type(*value).dtype == tensor::DType::f32) continue;
      fail(ErrorCode::unsupported, "value \"{}\" {}: expected f32", name, op::to_string(graph.type(*value)));
    }
    session_ = std::make_unique<runtime::GraphSession>(build_observable(std::move(graph), names), options);
  }

  // Calls visit(name, tensor) for each of the values on each sample.
  template <class Visit>
  void each(const Samples& samples, const ProgressSink& progress, Visit&& visit) {
    for (size_t i = 0; i < samples.count; ++i) {
      progress({"calibrate", i, samples.count});
      const GraphData inputs = samples.load(i);
      std::set<std::string, std::less<>> left = names_;
      const auto show = [&](const std::string& name, const Tensor& value) {
        if (left.erase(name) > 0) visit(name, value);
      };
      session_->set_tap(show);
      with_context(fmt::format("sample {}", i), [&] {
        const GraphData results = session_->run(inputs);
        for (const GraphData* data : {&inputs, &results}) {
          for (const auto& [name, datum] : *data) {
            if (datum.is_tensor()) show(name, datum.tensor());
          }
        }
        if (left.empty()) return;
        fail(ErrorCode::unsupported, "value \"{}\" is known before the graph runs", *left.begin());
      });
      session_->set_tap(nullptr);
    }
  }

 private:
  std::set<std::string, std::less<>> names_;
  std::unique_ptr<runtime::GraphSession> session_;
};

void widen(Range& range, const std::string& name, std::span<const float> elements) {
  for (const float element : elements) {
    if (!std::isfinite(element))
      fail(ErrorCode::invalid_input, "value \"{}\" has an element that is {}", name, element);
    range.low = std::min(range.low, double(element));
    range.high = std::max(range.high, double(element));
  }
}

}  // namespace

RangeMethod range_method(std::string_view name) {
  if (name == "minmax") return RangeMethod::minmax;
  if (name == "percentile") return RangeMethod::percentile;
  if (name == "mse") return RangeMethod::mse;
  fail(ErrorCode::usage, "--method {}: expected minmax, percentile or mse", name);
}

Histogram::Histogram(Range range)
    : range_(range), width_(std::max((range.high - range.low) / double(kBins), 1e-300)), counts_(kBins) {}

void Histogram::add(std::span<const float> elements) {
  for (const float element : elements) {
    const double bin = std::clamp((double(element) - range_.low) / width_, 0.0, double(kBins - 1));
    ++counts_[size_t(bin)];
  }
  total_ += elements.size();
}

Range Histogram::percentile(double share) const {
  const double cut = double(total_) * (1 - share) / 2;
  size_t first = 0, last = kBins - 1;
  for (double sum = double(counts_[first]); first < last && sum <= cut; sum += double(counts_[first])) ++first;
  for (double sum = double(counts_[last]); last > first && sum <= cut; sum += double(counts_[last])) --last;
  return {range_.low + double(first) * width_, range_.low + double(last + 1) * width_};
}

Range Histogram::least_error() const {
  Range best = range_;
  double least = INFINITY;
  for (int i = kCandidates; i > 0; --i) {
    const double part = double(i) / kCandidates;
    const Range range = {std::min(range_.low * part, 0.0), std::max(range_.high * part, 0.0)};
    const double step = (range.high - range.low) / kSteps;
    const double rounding = step * step / 12;
    double sum = 0;
    for (size_t bin = 0; bin < kBins; ++bin) {
      if (counts_[bin] == 0) continue;
      const double x = centre(bin), away = x - std::clamp(x, range.low, range.high);
      sum += double(counts_[bin]) * (away == 0 ? rounding : away * away);
    }
    if (sum >= least) continue;
    least = sum;
    best = range;
  }
  return best;
}

opt::Ranges measure_ranges(const ir::Graph& graph, std::span<const std::string> names, const Samples& samples,
                           const RangeOptions& options) {
  if (samples.count == 0) fail(ErrorCode::usage, "no calibration samples");
  Observer observer(graph, names, options.run);
  opt::Ranges ranges;
  observer.each(samples, options.progress,
                [&](const std::string& name, const Tensor& value) { widen(ranges[name], name, value.data<float>()); });
  if (options.method == RangeMethod::minmax) return ranges;
  std::map<std::string, Histogram, std::less<>> histograms;
  for (const auto& [name, range] : ranges) histograms.emplace(name, Histogram(range));
  observer.each(samples, options.progress, [&](const std::string& name, const Tensor& value) {
    histograms.find(name)->second.add(value.data<float>());
  });
  for (auto& [name, range] : ranges) {
    const Histogram& histogram = histograms.find(name)->second;
    range = options.method == RangeMethod::mse ? histogram.least_error() : histogram.percentile(options.share);
  }
  return ranges;
}

}  // namespace lathe::calibrate
