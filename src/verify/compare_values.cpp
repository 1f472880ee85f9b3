#include "verify/compare_values.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"

namespace lathe::verify {
namespace {

using tensor::Tensor;
using Sizes = std::map<std::string, size_t>;
using Portion = std::set<std::string>;

size_t bytes_of(const Tensor& tensor) {
  return tensor.dtype() == tensor::DType::string ? size_t(tensor.size()) * sizeof(std::string) : tensor.bytes().size();
}

Tensor copy_of(const Tensor& tensor) {
  if (tensor.dtype() == tensor::DType::string) return Tensor::of_strings(tensor.dims(), tensor.strings());
  Tensor copy(tensor.dtype(), tensor.dims());
  std::copy(tensor.bytes().begin(), tensor.bytes().end(), copy.mutable_bytes().begin());
  return copy;
}

// What the runs show, and how large it is.
Sizes shown_by(std::span<const GraphRun> runs, const GraphData& inputs) {
  Sizes sizes;
  for (const GraphRun& run : runs) {
    run.call(inputs, [&](const std::string& name, const Tensor& value) {
      size_t& size = sizes[name];
      size = std::max(size, bytes_of(value));
      return true;
    });
  }
  return sizes;
}

// The names that are shown, in order, in portions that memory holds.
std::vector<Portion> portions_of(std::span<const std::string> order, const Sizes& shown, size_t memory_bytes) {
  std::vector<Portion> portions;
  size_t bytes = 0;
  for (const std::string& name : order) {
    const auto it = shown.find(name);
    if (it == shown.end()) continue;
    if (portions.empty() || bytes + it->second > memory_bytes) {
      portions.emplace_back();
      bytes = 0;
    }
    bytes += it->second;
    portions.back().insert(name);
  }
  return portions;
}

// The values of one portion from the expected run, which ends when it has them.
std::map<std::string, Tensor> keep(const GraphRun& run, const GraphData& inputs, const Portion& portion) {
  std::map<std::string, Tensor> kept;
  run.call(inputs, [&](const std::string& name, const Tensor& value) {
    if (portion.contains(name)) kept.insert_or_assign(name, copy_of(value));
    return kept.size() < portion.size();
  });
  return kept;
}

void compare_portion(const GraphRun& run, const GraphData& inputs, const std::map<std::string, Tensor>& kept,
                     std::span<const std::string> order, double bound, ValueComparison& result) {
  std::map<std::string, TensorError> errors;
  run.call(inputs, [&](const std::string& name, const Tensor& value) {
    if (const auto it = kept.find(name); it != kept.end()) errors.insert_or_assign(name, error_of(it->second, value));
    return errors.size() < kept.size();
  });
  for (const std::string& name : order) {
    const auto it = errors.find(name);
    if (it == errors.end()) continue;
    ++result.compared;
    const TensorError& error = it->second;
    if (error.relative() > result.worst) {
      result.worst = error.relative();
      result.worst_name = name;
    }
    if (error.within(bound)) continue;
    result.first = ValueDifference{name, error};
    return;
  }
}

}  // namespace

std::vector<ValueComparison> compare_values(const GraphRun& expected, std::span<const GraphRun> found,
                                            const GraphData& inputs, std::span<const std::string> order,
                                            const CompareValuesOptions& options) {
  std::vector<ValueComparison> results(found.size());
  for (const Portion& portion : portions_of(order, shown_by(found, inputs), options.memory_bytes)) {
    const bool all_differ = std::all_of(results.begin(), results.end(), [](const auto& r) { return bool(r.first); });
    if (all_differ) break;
    const auto kept = keep(expected, inputs, portion);
    for (size_t i = 0; i < found.size(); ++i) {
      if (!results[i].first) compare_portion(found[i], inputs, kept, order, options.bound, results[i]);
    }
  }
  return results;
}

std::vector<std::string> result_names(const ir::Graph& graph) {
  std::vector<std::string> names;
  for (const ir::NodeId id : graph.nodes()) {
    for (const ir::Value output : graph.node(id).outputs) {
      if (output) names.push_back(graph.name(output));
    }
  }
  return names;
}

}  // namespace lathe::verify
