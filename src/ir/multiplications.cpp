#include "ir/multiplications.h"

#include <algorithm>
#include <set>

#include "base/checked.h"
#include "ir/body.h"

namespace lathe::ir {
namespace {

using tensor::Dims;

// The numbers of a value's dims; nullopt where one is open.
std::optional<Dims> dims_of(const Graph& graph, Value value) {
  if (!value) return std::nullopt;
  const op::TypeInfo& type = graph.type(value);
  return type.is_plain() ? tensor::to_dims(type.shape) : std::nullopt;
}

int64_t product(std::span<const int64_t> dims) { return tensor::element_count(dims); }
int64_t times(int64_t a, int64_t b) { return checked_mul(a, b, "multiplications"); }

// A node with the dims of what it reads and gives.
class Work {
 public:
  Work(const Graph& graph, const Node& node) : graph_(graph), node_(node) {}

  // Each output is a sum over the window and the channels of its group: w is [features, channels / group, kernel...].
  std::optional<int64_t> convolution(size_t w) const {
    const auto y = output(0), weights = input(w);
    if (!y || !weights || weights->size() < 3) return std::nullopt;
    return times(product(*y), product(std::span(*weights).subspan(1)));
  }

  // Each input goes into the window of every feature of its group: w is [channels, features / group, kernel...].
  std::optional<int64_t> transposed_convolution() const {
    const auto x = input(0), weights = input(1);
    if (!x || !weights || weights->size() < 3) return std::nullopt;
    return times(product(*x), product(std::span(*weights).subspan(1)));
  }

  std::optional<int64_t> matrix_product() const {
    const auto y = output(0), a = input(0);
    if (!y || !a || a->empty()) return std::nullopt;
    return times(product(*y), a->back());
  }

  std::optional<int64_t> gemm() const {
    const auto y = output(0), a = input(0);
    if (!y || !a || a->size() != 2) return std::nullopt;
    return times(product(*y), (*a)[node_.attributes.get_int("transA", 0) != 0 ? 0 : 1]);
  }

  // Scores and their product with the values: per query head and position, each key of key width and value of value
  // width. All keys count, also those that a mask hides.
  std::optional<int64_t> attention() const {
    const auto q = input(0), k = input(1), v = input(2);
    if (!q || !k || !v) return std::nullopt;
    const int64_t q_heads = q->size() == 4 ? (*q)[1] : node_.attributes.get_int("q_num_heads", 1);
    const int64_t kv_heads = k->size() == 4 ? (*k)[1] : node_.attributes.get_int("kv_num_heads", 1);
    const int64_t queries = (*q)[q->size() - 2];
    int64_t keys = (*k)[k->size() - 2];
    if (node_.inputs.size() > 4 && node_.inputs[4]) {
      const auto past = input(4);  // [batch, heads, past, width]
      if (!past || past->size() != 4) return std::nullopt;
      keys += (*past)[2];
    }
    const int64_t widths = k->back() / (k->size() == 4 ? 1 : kv_heads) + v->back() / (v->size() == 4 ? 1 : kv_heads);
    return times(times(times((*q)[0], q_heads), times(queries, keys)), widths);
  }

  // x is [steps, batch, width], the weights [directions, gates * hidden, width] and [directions, gates * hidden,
  // hidden].
  std::optional<int64_t> recurrent() const {
    const auto x = input(0), w = input(1), r = input(2);
    if (!x || !w || !r || x->size() != 3) return std::nullopt;
    return times(times((*x)[0], (*x)[1]), product(*w) + product(*r));
  }

 private:
  std::optional<Dims> input(size_t i) const {
    return i < node_.inputs.size() ? dims_of(graph_, node_.inputs[i]) : std::nullopt;
  }
  std::optional<Dims> output(size_t i) const { return dims_of(graph_, node_.outputs[i]); }

  const Graph& graph_;
  const Node& node_;
};

using Count = std::optional<int64_t> (*)(const Work&);

// nullptr: an operator that is not counted.
Count count_for(const std::string& op) {
  static const std::map<std::string, Count> kCounts = {
      {"Conv", [](const Work& w) { return w.convolution(1); }},
      {"ConvInteger", [](const Work& w) { return w.convolution(1); }},
      {"QLinearConv", [](const Work& w) { return w.convolution(3); }},
      {"ConvTranspose", [](const Work& w) { return w.transposed_convolution(); }},
      {"MatMul", [](const Work& w) { return w.matrix_product(); }},
      {"MatMulInteger", [](const Work& w) { return w.matrix_product(); }},
      {"QLinearMatMul", [](const Work& w) { return w.matrix_product(); }},
      {"Gemm", [](const Work& w) { return w.gemm(); }},
      {"Attention", [](const Work& w) { return w.attention(); }},
      {"LSTM", [](const Work& w) { return w.recurrent(); }},
      {"GRU", [](const Work& w) { return w.recurrent(); }},
      {"RNN", [](const Work& w) { return w.recurrent(); }},
  };
  const auto it = kCounts.find(op);
  return it == kCounts.end() ? nullptr : it->second;
}

// What a lathe.Contrib means, with the lengths that its inputs have here.
Multiplications count_meaning(const Graph& graph, const Node& node) {
  Graph meaning = graph_of(node.attributes.get_graph("meaning"));
  const std::vector<Value> formal(meaning.inputs().begin(), meaning.inputs().end());
  size_t next = 0;
  for (const Value input : node.inputs) {
    if (input) meaning.set_type(formal.at(next++), graph.type(input));
  }
  meaning.infer_types();
  return count_multiplications(meaning);
}

}  // namespace

Multiplications count_multiplications(const Graph& graph) {
  Multiplications result;
  for (const NodeId id : graph.nodes()) {
    const Node& node = graph.node(id);
    if (node.op == "lathe.Contrib") {
      const Multiplications meant = count_meaning(graph, node);
      for (const auto& [op, number] : meant.by_op) result.by_op[op] += number;
      result.total += meant.total;
      result.unknown += meant.unknown;
    }
    const Count count = count_for(node.op);
    if (!count) continue;
    const auto number = count(Work(graph, node));
    if (!number) {
      ++result.unknown;
      continue;
    }
    result.by_op[node.op] += *number;
    result.total += *number;
  }
  return result;
}

}  // namespace lathe::ir
