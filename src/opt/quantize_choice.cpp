#include "opt/quantize_choice.h"

#include <fmt/format.h>

#include <algorithm>

#include "opt/product_rounding.h"

namespace lathe::opt {
namespace {

constexpr int64_t kNarrow = 16;  // features of a panel: fewer are filled up with zeros

// Empty: nothing speaks against it.
std::string why_floats(const ir::Graph& graph, const ir::Node& node, bool fast_bytes) {
  const tensor::Dims& weights = graph.source(node.inputs[1])->dims();
  if (node.op != "Conv") {
    return graph.type(node.inputs[0]).shape.size() < 3 ? "a vector for each picture, which takes no time" : "";
  }
  if (std::min(weights[0], weights[1]) < kNarrow && node.attributes.get_int("group", 1) == 1) {
    return fmt::format("a convolution of {} channels into {}, which 8 bits make no faster", weights[1], weights[0]);
  }
  return !fast_bytes && is_transformed(graph, node) ? "Winograd's transforms in fp32 are faster without VNNI" : "";
}

}  // namespace

std::map<std::string, std::string, std::less<>> products_better_in_floats(const ir::Graph& graph, bool fast_bytes) {
  std::map<std::string, std::string, std::less<>> reasons;
  for (const ir::NodeId id : graph.nodes()) {
    const ir::Node& node = graph.node(id);
    if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") continue;
    if (!graph.is_constant(node.inputs[1]) || graph.source(node.inputs[1])->dims().size() < 2) continue;
    if (std::string why = why_floats(graph, node, fast_bytes); !why.empty()) {
      reasons.emplace(graph.name(node.outputs[0]), std::move(why));
    }
  }
  return reasons;
}

}  // namespace lathe::opt
