#include "opt/value_range.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "opt/match.h"

namespace lathe::opt {
namespace {

using ir::Graph;
using ir::Node;
using ir::Value;
using Found = std::optional<ValueRange>;
using tensor::DType;

constexpr std::string_view kMoves[] = {"Cast",    "Expand", "Flatten",   "Gather", "Identity", "Reshape",
                                       "Slice",   "Squeeze", "Tile",     "Transpose", "Unsqueeze"};

Found of_constant(const tensor::Tensor* tensor) {
  const bool numeric = tensor && (tensor::is_float(tensor->dtype()) || tensor::is_integer(tensor->dtype()));
  if (!numeric || tensor->size() == 0 || tensor::bits(tensor->dtype()) < 8) return std::nullopt;
  ValueRange range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (int64_t i = 0; i < tensor->size(); ++i) {
    const double element = element_as_double(*tensor, i);
    if (std::isnan(element)) return std::nullopt;
    range.low = std::min(range.low, element);
    range.high = std::max(range.high, element);
  }
  return range;
}

// What overflows on the way is no number that can be followed.
Found finite(const ValueRange& range) {
  return range.is_finite_f32() ? Found(range) : std::nullopt;
}

ValueRange joined(const ValueRange& a, const ValueRange& b) {
  return {std::min(a.low, b.low), std::max(a.high, b.high)};
}

class Ranges {
 public:
  explicit Ranges(const Graph& graph) : graph_(graph) {}

  Found find(Value value) {
    const auto known = known_.find(value);
    if (known != known_.end()) return known->second;
    known_[value] = std::nullopt;
    return known_[value] = compute(value);
  }

 private:
  Found compute(Value value) {
    const DType dtype = graph_.type(value).dtype;
    if (dtype == DType::boolean) return ValueRange{0, 1};
    if (graph_.is_constant(value)) return of_constant(graph_.small_constant(value));
    if (graph_.kind(value) == ir::ValueKind::input) {
      return tensor::is_integer(dtype) ? Found(ValueRange{0, 1}) : std::nullopt;
    }
    return of_node(graph_.node(graph_.producer(value)));
  }

  Found of_node(const Node& node) {
    if (std::find(std::begin(kMoves), std::end(kMoves), node.op) != std::end(kMoves)) return find(node.inputs[0]);
    if (node.op == "Where") return either(node.inputs[1], node.inputs[2]);
    if (node.op == "Add" || node.op == "Sub" || node.op == "Mul") return of_arithmetic(node);
    if (node.op == "Concat") {
      Found range = find(node.inputs[0]);
      for (const Value input : node.inputs) {
        const Found next = find(input);
        range = range && next ? Found(joined(*range, *next)) : std::nullopt;
      }
      return range;
    }
    return std::nullopt;
  }

  Found either(Value a, Value b) {
    const Found left = find(a), right = find(b);
    return left && right ? Found(joined(*left, *right)) : std::nullopt;
  }

  Found of_arithmetic(const Node& node) {
    const Found a = find(node.inputs[0]), b = find(node.inputs[1]);
    if (!a || !b || !finite(*a) || !finite(*b)) return std::nullopt;
    if (node.op == "Add") return finite({a->low + b->low, a->high + b->high});
    if (node.op == "Sub") return finite({a->low - b->high, a->high - b->low});
    const auto [low, high] =
        std::minmax({a->low * b->low, a->low * b->high, a->high * b->low, a->high * b->high});
    return finite({low, high});
  }

  const Graph& graph_;
  std::map<Value, Found> known_;
};

}  // namespace

std::optional<ValueRange> find_range(const Graph& graph, Value value) {
  return Ranges(graph).find(value);
}

}  // namespace lathe::opt
