#include "opt/value_range.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "opt/half_range.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;
using tensor::DType;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr int kDepth = 64;  // nodes between a mask and what it is made of, more than any has
constexpr std::string_view kMoves[] = {"Expand", "Flatten", "Gather", "Identity",  "Reshape",
                                       "Slice",  "Squeeze", "Tile",   "Transpose", "Unsqueeze"};

ValueRange of_constant(const tensor::Tensor* tensor) {
  const bool numeric = tensor && (tensor::is_float(tensor->dtype()) || tensor::is_integer(tensor->dtype()));
  if (!numeric || tensor->size() == 0 || tensor::bits(tensor->dtype()) < 8) return {};
  ValueRange range{kInfinity, -kInfinity};
  for (int64_t i = 0; i < tensor->size(); ++i) {
    const double element = element_as_double(*tensor, i);
    if (std::isnan(element)) return {};
    range.low = std::min(range.low, element);
    range.high = std::max(range.high, element);
  }
  return range;
}

// As a float type has it: what overflows is infinite.
ValueRange rounded(double low, double high, double limit = std::numeric_limits<float>::max()) {
  if (std::isnan(low) || std::isnan(high)) return {};
  return {low < -limit ? -kInfinity : low, high > limit ? kInfinity : high};
}

ValueRange of_cast(const ValueRange& from, DType to) {
  if (to == DType::f16 || to == DType::bf16) return rounded(from.low, from.high, largest_of(to));
  if (tensor::is_float(to)) return rounded(from.low, from.high);
  // Integers round towards 0; what does not fit is not defined.
  return std::abs(from.low) <= 0x1p31 && std::abs(from.high) <= 0x1p31 ? from : ValueRange{};
}

ValueRange of_product(const ValueRange& a, const ValueRange& b) {
  ValueRange range{kInfinity, -kInfinity};
  for (const double x : {a.low, a.high}) {
    for (const double y : {b.low, b.high}) {
      if (std::isnan(x * y)) return {};
      range.low = std::min(range.low, x * y);
      range.high = std::max(range.high, x * y);
    }
  }
  return rounded(range.low, range.high);
}

class Ranges {
 public:
  Ranges(const Graph& graph, bool given_masks) : graph_(graph), given_masks_(given_masks) {}

  ValueRange find(Value value) {
    const auto known = known_.find(value);
    if (known != known_.end()) return known->second;
    if (depth_ == kDepth) return {};
    ++depth_;
    const ValueRange range = compute(value);
    --depth_;
    return known_[value] = range;
  }

 private:
  ValueRange compute(Value value) {
    const DType dtype = graph_.type(value).dtype;
    if (dtype == DType::boolean) return {0, 1};
    if (graph_.is_constant(value)) return of_constant(graph_.small_constant(value));
    if (graph_.kind(value) == ir::ValueKind::input) {
      return given_masks_ && tensor::is_integer(dtype) ? ValueRange{0, 1} : ValueRange{};
    }
    return of_node(graph_.node(graph_.producer(value)));
  }

  ValueRange of_node(const Node& node) {
    if (std::find(std::begin(kMoves), std::end(kMoves), node.op) != std::end(kMoves)) return find(node.inputs[0]);
    if (node.op == "Cast") return of_cast(find(node.inputs[0]), graph_.type(node.outputs[0]).dtype);
    if (node.op == "Where") return any_of({node.inputs[1], node.inputs[2]});
    if (node.op == "Concat") return any_of(node.inputs);
    if (node.op != "Add" && node.op != "Sub" && node.op != "Mul") return {};
    const ValueRange a = find(node.inputs[0]), b = find(node.inputs[1]);
    if (node.op == "Add") return rounded(a.low + b.low, a.high + b.high);
    if (node.op == "Sub") return rounded(a.low - b.high, a.high - b.low);
    return of_product(a, b);
  }

  ValueRange any_of(const std::vector<Value>& values) {
    ValueRange range{kInfinity, -kInfinity};
    for (const Value value : values) {
      const ValueRange next = find(value);
      range = {std::min(range.low, next.low), std::max(range.high, next.high)};
    }
    return range;
  }

  const Graph& graph_;
  const bool given_masks_;
  int depth_ = 0;
  std::map<Value, ValueRange> known_;
};

}  // namespace

ValueRange find_range(const Graph& graph, Value value, bool given_masks) {
  return Ranges(graph, given_masks).find(value);
}

}  // namespace lathe::opt
