// Computes once what is computed twice: equal constants, and nodes of the same operator, attributes and
// inputs.
#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "opt/pass.h"

namespace lathe::opt {
namespace {

// Two graph outputs keep a name each, so the results behind them stay two.
bool can_merge(const ir::Graph& graph, ir::Value first, ir::Value second) {
  return !graph.is_output(second) || (!graph.is_output(first) && graph.kind(first) == ir::ValueKind::result);
}

bool same_bytes(const tensor::Tensor& a, const tensor::Tensor& b) {
  const auto x = a.bytes();
  const auto y = b.bytes();
  return x.size() == y.size() && (x.empty() || std::memcmp(x.data(), y.data(), x.size()) == 0);
}

// Large constants are equal when they are one source; comparing their bytes would read the whole model.
bool same_constant(const ir::Graph& graph, ir::Value a, ir::Value b) {
  if (graph.source(a) == graph.source(b)) return true;
  const tensor::Tensor* x = graph.small_constant(a);
  const tensor::Tensor* y = graph.small_constant(b);
  return x && y && same_bytes(*x, *y);
}

bool merge_constants(ir::Graph& graph) {
  std::map<std::pair<tensor::DType, tensor::Dims>, std::vector<ir::Value>> seen;
  bool changed = false;
  for (const ir::Value constant : graph.constants()) {
    const tensor::Source& source = *graph.source(constant);
    auto& candidates = seen[{source.dtype(), source.dims()}];
    const auto same = std::find_if(candidates.begin(), candidates.end(),
                                   [&](ir::Value other) { return same_constant(graph, other, constant); });
    if (same == candidates.end()) {
      candidates.push_back(constant);
    } else if (can_merge(graph, *same, constant)) {
      graph.replace_uses(constant, *same);
      changed = true;
    }
  }
  return changed;
}

bool merge_nodes(ir::Graph& graph) {
  using Key = std::tuple<std::string, std::vector<ir::Value>, size_t>;  // operator, inputs, number of outputs
  std::map<Key, std::vector<ir::NodeId>> seen;
  const std::vector<ir::NodeId> nodes(graph.nodes().begin(), graph.nodes().end());
  bool changed = false;
  for (const ir::NodeId id : nodes) {
    const ir::Node node = graph.node(id);
    auto& candidates = seen[{node.op, node.inputs, node.outputs.size()}];
    const auto same = std::find_if(candidates.begin(), candidates.end(), [&](ir::NodeId other) {
      const ir::Node& first = graph.node(other);
      if (!(first.attributes == node.attributes)) return false;
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        if (!can_merge(graph, first.outputs[i], node.outputs[i])) return false;
      }
      return true;
    });
    if (same == candidates.end()) {
      candidates.push_back(id);
      continue;
    }
    const std::vector<ir::Value> first = graph.node(*same).outputs;
    for (size_t i = 0; i < first.size(); ++i) graph.replace_uses(node.outputs[i], first[i]);
    graph.erase(id);
    changed = true;
  }
  return changed;
}

bool run(ir::Graph& graph, PassContext&) {
  const bool constants = merge_constants(graph);
  const bool nodes = merge_nodes(graph);
  return constants || nodes;
}

}  // namespace

const Pass& common_subexpression_pass() {
  static const Pass pass{.name = "common_subexpression", .run = run};
  return pass;
}

}  // namespace lathe::opt
