#include "opt/numeric_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"

namespace lathe::opt {
namespace {

constexpr double kFloor = 1e-6;           // of the bound, for outputs near 0
constexpr int64_t kLargestSymbol = 1024;  // where the search for sizes that fit gives up

// A number in [0, 2^32) that depends on name and index only (FNV-1a, then one round of mixing).
uint32_t noise(std::string_view name, int64_t index) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  hash = (hash ^ uint64_t(index)) * 0x9e3779b97f4a7c15u;
  return uint32_t((hash ^ (hash >> 29)) * 0xbf58476d1ce4e5b9u >> 32);
}

// Different numbers for different symbols, the smallest that leave no dimension negative.
std::map<std::string, int64_t, std::less<>> choose_symbols(const ir::Graph& graph) {
  std::set<std::string> symbols;
  for (const ir::Value input : graph.inputs()) {
    for (const tensor::Dim& dim : graph.type(input).shape) {
      for (std::string& symbol : dim.symbols()) symbols.insert(std::move(symbol));
    }
  }
  for (int64_t first = 2; first < kLargestSymbol; ++first) {
    std::map<std::string, int64_t, std::less<>> bindings;
    for (const std::string& symbol : symbols) bindings.emplace(symbol, first + int64_t(bindings.size()));
    const auto inputs = graph.inputs();
    const bool fits = std::all_of(inputs.begin(), inputs.end(), [&](ir::Value input) {
      const tensor::Shape& shape = graph.type(input).shape;
      return std::all_of(shape.begin(), shape.end(),
                         [&](const tensor::Dim& dim) { return dim.bind(bindings).value() >= 0; });
    });
    if (fits) return bindings;
  }
  fail(ErrorCode::unsupported, "graph {}: no small sizes fit its input dimensions", graph.name());
}

[[noreturn]] void reject(std::string_view who, std::string_view output, int64_t index, double expected,
                         double found) {
  fail(ErrorCode::verification, "{} changed output \"{}\" at index {}: expected {}, found {}", who, output,
       index, expected, found);
}

// Steps in a narrow type round each, the operator they stand for once: that may move a result by a few units in the
// last place, whatever the tolerance.
double rounding_of(tensor::DType dtype) {
  if (dtype == tensor::DType::f16) return 0x1p-9;
  return dtype == tensor::DType::bf16 ? 0x1p-6 : 0;
}

void compare_floats(std::string_view who, std::string_view output, const tensor::Tensor& expected,
                    const tensor::Tensor& found, double tolerance) {
  double largest = 0;
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double magnitude = std::abs(element_as_double(expected, i));
    if (std::isfinite(magnitude)) largest = std::max(largest, magnitude);
  }
  const double bound = std::max(kFloor, std::max(tolerance, rounding_of(expected.dtype())) * largest);
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double a = element_as_double(expected, i);
    const double b = element_as_double(found, i);
    const bool same = a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= bound;
    if (!same) reject(who, output, i, a, b);
  }
}

void compare(std::string_view who, std::string_view output, const tensor::Tensor& expected,
             const tensor::Tensor& found, double tolerance) {
  if (expected.dtype() != found.dtype() || expected.dims() != found.dims()) {
    fail(ErrorCode::verification, "{} changed output \"{}\": expected {}{}, found {}{}", who, output,
         to_string(expected.dtype()), tensor::to_string(std::span(expected.dims())), to_string(found.dtype()),
         tensor::to_string(std::span(found.dims())));
  }
  if (tensor::is_float(expected.dtype())) return compare_floats(who, output, expected, found, tolerance);
  if (expected.dtype() == tensor::DType::string) {
    if (expected.strings() == found.strings()) return;
    fail(ErrorCode::verification, "{} changed output \"{}\": its strings differ", who, output);
  }
  const auto a = expected.bytes();
  const auto b = found.bytes();
  if (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0) return;
  for (int64_t i = 0; i < expected.size(); ++i) {
    const double before = element_as_double(expected, i);
    const double after = element_as_double(found, i);
    if (before != after) reject(who, output, i, before, after);
  }
  fail(ErrorCode::verification, "{} changed output \"{}\" in digits that a double does not hold", who,
       output);
}

std::vector<std::string> output_names(const ir::Graph& graph) {
  std::vector<std::string> names;
  for (const ir::Value output : graph.outputs()) names.push_back(graph.name(output));
  return names;
}

}  // namespace

void fill_with_noise(tensor::Tensor& tensor, std::string_view name) {
  if (tensor.dtype() == tensor::DType::string) return;  // empty strings
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const uint32_t bits = noise(name, i);
    // Ids, masks and lengths are all safe at 0 and 1.
    const double value = tensor::is_float(tensor.dtype()) ? double(bits) * 0x1p-31 - 1 : double(bits >> 31);
    set_element(tensor, i, value);
  }
}

std::map<std::string, tensor::Tensor> generate_inputs(const ir::Graph& graph) {
  const auto symbols = choose_symbols(graph);
  std::map<std::string, tensor::Tensor> inputs;
  for (const ir::Value input : graph.inputs()) {
    tensor::Dims dims;
    for (const tensor::Dim& dim : graph.type(input).shape) dims.push_back(dim.bind(symbols).value());
    tensor::Tensor tensor(graph.type(input).dtype, std::move(dims));
    fill_with_noise(tensor, graph.name(input));
    inputs.emplace(graph.name(input), std::move(tensor));
  }
  return inputs;
}

NumericCheck::NumericCheck(const ir::Graph& graph, std::map<std::string, tensor::Tensor> inputs)
    : inputs_(inputs.empty() ? generate_inputs(graph) : std::move(inputs)), names_(output_names(graph)) {
  with_context("checked mode", [&] { outputs_ = ir::evaluate(graph, inputs_); });
  first_ = outputs_;
}

void NumericCheck::accept(const ir::Graph& graph, std::string_view who, double tolerance) {
  const std::vector<std::string> names = output_names(graph);
  if (names != names_) {
    fail(ErrorCode::verification, "{} changed the outputs: expected {}, found {}", who,
         fmt::join(names_, ", "), fmt::join(names, ", "));
  }
  auto outputs =
      with_context(fmt::format("checked mode after {}", who), [&] { return ir::evaluate(graph, inputs_); });
  largest_tolerance_ = std::max(largest_tolerance_, tolerance);
  const std::string all = fmt::format("{}, with what ran before it,", who);
  for (const std::string& name : names) {
    compare(who, name, outputs_.at(name), outputs.at(name), tolerance);
    compare(all, name, first_.at(name), outputs.at(name), largest_tolerance_);
  }
  outputs_ = std::move(outputs);
}

}  // namespace lathe::opt
