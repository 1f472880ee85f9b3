#include "opt/product_rounding.h"

#include <algorithm>
#include <optional>

#include "opt/half_range.h"

namespace lathe::opt {
namespace {

size_t weights_index(const ir::Node& node) {
  return node.op == "lathe.Linear" ? 4 : 1;
}

bool is_roundable(const ir::Graph& graph, const ir::Node& node) {
  const bool conv = node.op == "lathe.Conv";
  if (!conv && node.op != "lathe.Linear") return false;
  if (!conv && (node.attributes.get_int("parts", 1) != 1 || node.attributes.get_string("norm", "none") != "none")) {
    return false;
  }
  const ir::Value w = node.inputs[weights_index(node)];
  if (!graph.is_constant(w) || graph.type(w).dtype != tensor::DType::f32) return false;
  if (graph.source(w)->encoding() != tensor::Encoding::plain) return false;
  const auto& dims = graph.source(w)->dims();
  return !conv || dims[1] > 1 || dims[0] == 1 || node.attributes.get_int("group", 1) != dims[0];
}

}  // namespace

bool is_transformed(const ir::Graph& graph, const ir::Node& product) {
  constexpr int64_t kLeastWidth = 64;
  if (product.op != "lathe.Conv" && product.op != "Conv") return false;
  if (!graph.is_constant(product.inputs[1])) return false;
  const tensor::Dims& dims = graph.source(product.inputs[weights_index(product)])->dims();
  const auto ones = [&](const char* name) {
    const auto values = product.attributes.find_ints(name).value_or(tensor::Dims{});
    return std::all_of(values.begin(), values.end(), [](int64_t value) { return value == 1; });
  };
  return dims.size() == 4 && dims[2] == 3 && dims[3] == 3 && product.attributes.get_int("group", 1) == 1 &&
         ones("strides") && ones("dilations") && dims[0] >= kLeastWidth && dims[1] >= kLeastWidth;
}

std::vector<ir::NodeId> roundable_products(const ir::Graph& graph) {
  std::vector<ir::NodeId> products;
  for (const ir::NodeId id : graph.nodes()) {
    if (is_roundable(graph, graph.node(id))) products.push_back(id);
  }
  return products;
}

void round_product(ir::Graph& graph, ir::NodeId node, const ProductRounding& rounding) {
  if (rounding.x != "f32" && !is_transformed(graph, graph.node(node))) {
    graph.set_attribute(node, "compute", rounding.x);
  }
  if (rounding.weights != "f32") graph.set_attribute(node, "weights", rounding.weights);
}

std::vector<KeptProduct> round_products(ir::Graph& graph, const ProductRounding& rounding,
                                        const std::set<std::string>& kept) {
  std::vector<KeptProduct> refused;
  if (rounding.none()) return refused;
  for (const ir::NodeId id : roundable_products(graph)) {
    const ir::Node& node = graph.node(id);
    const std::string name = graph.name(node.outputs[0]);
    if (kept.contains(name)) continue;
    if (rounding.weights == "f16") {
      if (auto reason = refusal_of(*graph.source(node.inputs[weights_index(node)]), tensor::DType::f16)) {
        refused.push_back({name, std::move(*reason)});
        continue;
      }
    }
    round_product(graph, id, rounding);
  }
  return refused;
}

}  // namespace lathe::opt
