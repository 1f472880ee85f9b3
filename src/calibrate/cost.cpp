#include "calibrate/cost.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "compiler/graph_build.h"
#include "op/values.h"

namespace lathe::calibrate {
namespace {

using runtime::GraphSession;
using tensor::DType;
using tensor::Tensor;
using Values = std::map<std::string, Tensor, std::less<>>;

constexpr double kNoNoise = 200;  // dB

bool is_floats(const op::Datum& datum) {
  return datum.is_tensor() && datum.tensor().dtype() == DType::f32;
}

Values shown(GraphSession& session, const GraphData& inputs, const std::set<std::string, std::less<>>& names) {
  Values values;
  session.set_tap([&](const std::string& name, const Tensor& value) {
    if (names.contains(name)) values.insert_or_assign(name, op::clone(value));
  });
  session.run(inputs);
  session.set_tap(nullptr);
  return values;
}

// Rows whose largest element is at the same place in both.
std::pair<int64_t, int64_t> rows_alike(const Tensor& expected, const Tensor& found) {
  const int64_t width = expected.dims().empty() ? 1 : expected.dims().back();
  const int64_t rows = width > 1 ? expected.size() / width : 0;
  int64_t alike = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const auto a = expected.data<float>().subspan(size_t(row * width), size_t(width));
    const auto b = found.data<float>().subspan(size_t(row * width), size_t(width));
    alike += std::max_element(a.begin(), a.end()) - a.begin() == std::max_element(b.begin(), b.end()) - b.begin();
  }
  return {alike, rows};
}

std::pair<int64_t, int64_t> elements_alike(const Tensor& expected, const Tensor& found) {
  int64_t alike = 0;
  for (int64_t i = 0; i < expected.size(); ++i) {
    alike += expected.dtype() == DType::string ? expected.strings()[size_t(i)] == found.strings()[size_t(i)]
                                               : element_as_double(expected, i) == element_as_double(found, i);
  }
  return {alike, expected.size()};
}

void check_numbers(const std::string& output, size_t sample, const Tensor& tensor) {
  const auto numbers = tensor.data<float>();
  const auto nan = std::find_if(numbers.begin(), numbers.end(), [](float number) { return std::isnan(number); });
  if (nan == numbers.end()) return;
  fail(ErrorCode::verification,
       "output \"{}\" of the graph in f32 is NaN at index {} for sample {}: there is nothing to compare", output,
       nan - numbers.begin(), sample);
}

}  // namespace

void Noise::add(std::span<const float> expected, std::span<const float> found) {
  LATHE_CHECK(expected.size() == found.size(), "{} elements against {}", expected.size(), found.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const bool same = found[i] == expected[i] || (std::isnan(expected[i]) && std::isnan(found[i]));
    if (same && !std::isfinite(expected[i])) continue;
    const double away = double(found[i]) - double(expected[i]);
    signal += double(expected[i]) * double(expected[i]);
    error += away * away;
    worst = std::max(worst, std::abs(away));
    largest = std::max(largest, std::abs(double(expected[i])));
    ++count;
  }
}

double Noise::db() const {
  if (error == 0) return kNoNoise;
  return std::isfinite(error) ? 10 * std::log10(signal / error) : -kNoNoise;
}

double Noise::psnr() const {
  if (error == 0) return kNoNoise;
  return std::isfinite(error) ? 10 * std::log10(largest * largest * double(count) / error) : -kNoNoise;
}

std::vector<NodeCost> cost_of_nodes(const ir::Graph& floats, const ir::Graph& rounded,
                                    std::span<const std::string> values, std::span<const std::string> fed,
                                    const Samples& samples, const runtime::GraphOptions& options,
                                    const ProgressSink& progress) {
  GraphSession expected(compiler::build_node_by_node(floats), options);
  GraphSession found(compiler::build_node_by_node(rounded), options);
  std::set<std::string, std::less<>> wanted(values.begin(), values.end());
  wanted.insert(fed.begin(), fed.end());
  const std::set<std::string, std::less<>> feed(fed.begin(), fed.end());
  std::map<std::string, Noise, std::less<>> noise;
  for (size_t i = 0; i < samples.count; ++i) {
    progress({"cost of nodes", i, samples.count});
    const GraphData inputs = samples.load(i);
    const Values right = shown(expected, inputs, wanted);
    found.set_tap([&](const std::string& name, const Tensor& value) {
      const auto it = right.find(name);
      if (it != right.end()) noise[name].add(it->second.data<float>(), value.data<float>());
    });
    found.set_replacement([&](const std::string& name) -> const Tensor* {
      const auto it = feed.contains(name) ? right.find(name) : right.end();
      return it == right.end() ? nullptr : &it->second;
    });
    found.run(inputs);
    found.set_tap(nullptr);
    found.set_replacement(nullptr);
  }
  std::vector<NodeCost> costs;
  for (const std::string& value : values) {
    const auto it = noise.find(value);
    LATHE_CHECK(it != noise.end(), "no run showed \"{}\"", value);
    costs.push_back({value, it->second});
  }
  return costs;
}

std::vector<OutputCost> cost_of_outputs(const ir::Graph& floats, const ir::Graph& rounded, const Samples& samples,
                                        const runtime::GraphOptions& options, const ProgressSink& progress) {
  GraphSession expected(compiler::build_graph(floats), options), found(compiler::build_graph(rounded), options);
  std::vector<OutputCost> costs;
  std::vector<std::pair<int64_t, int64_t>> alike;
  for (const ir::Value output : floats.outputs()) costs.push_back({floats.name(output), {}, {}, {}});
  alike.resize(costs.size());
  for (size_t i = 0; i < samples.count; ++i) {
    progress({"cost of the whole", i, samples.count});
    const GraphData inputs = samples.load(i);
    const GraphData right = expected.run(inputs), wrong = found.run(inputs);
    for (size_t c = 0; c < costs.size(); ++c) {
      const op::Datum &a = right.at(costs[c].name), &b = wrong.at(costs[c].name);
      if (!a.is_tensor()) continue;
      if (!b.is_tensor() || a.tensor().dims() != b.tensor().dims() || a.tensor().dtype() != b.tensor().dtype()) {
        fail(ErrorCode::verification, "output \"{}\" has another type or other lengths where it is rounded",
             costs[c].name);
      }
      if (!is_floats(a)) {
        const auto [same, count] = elements_alike(a.tensor(), b.tensor());
        alike[c].first += same;
        alike[c].second += count;
        continue;
      }
      check_numbers(costs[c].name, i, a.tensor());
      costs[c].noise.add(a.tensor().data<float>(), b.tensor().data<float>());
      const auto [same, rows] = rows_alike(a.tensor(), b.tensor());
      alike[c].first += same;
      alike[c].second += rows;
    }
  }
  for (size_t c = 0; c < costs.size(); ++c) {
    if (alike[c].second == 0) continue;
    const bool of_floats = floats.type(*floats.find(costs[c].name)).dtype == DType::f32;
    (of_floats ? costs[c].same_largest : costs[c].same_elements) = double(alike[c].first) / double(alike[c].second);
  }
  return costs;
}

}  // namespace lathe::calibrate
