#include "compiler/body_constants.h"

#include <algorithm>

#include "ir/body.h"

namespace lathe::compiler {
namespace {

// Inputs of the node that are the same in every evaluation of the body: body input `first_inside + i` is the node's
// `first + i`.
struct Captures {
  size_t first = 0, first_inside = 0, count = 0;
};

Captures captures_of(const ir::Node& node, std::string_view name, const ir::Graph& body) {
  const size_t inside = body.inputs().size();
  if (node.op == "If") {  // the condition, what else_branch captures, what then_branch captures
    return name == "else_branch" ? Captures{1, 0, inside} : Captures{node.inputs.size() - inside, 0, inside};
  }
  const auto count = size_t(node.attributes.get_int("num_captures", 0));
  if (count > inside || count > node.inputs.size()) return {};
  return {node.inputs.size() - count, inside - count, count};
}

}  // namespace

ir::Graph with_constants(const ir::Graph& graph, const ir::Node& node, std::string_view name, ir::Graph body) {
  const Captures captures = captures_of(node, name, body);
  bool changed = false;
  for (size_t i = 0; i < captures.count; ++i) {
    const ir::Value outside = node.inputs[captures.first + i];
    const ir::Value inside = body.inputs()[captures.first_inside + i];
    if (!graph.is_constant(outside)) continue;
    const auto span = body.users(inside);
    const std::vector<ir::NodeId> users(span.begin(), span.end());
    if (users.empty()) continue;
    const ir::Value constant = body.add_constant(graph.source_name(outside), graph.source(outside));
    for (const ir::NodeId user : users) {
      for (size_t k = 0; k < body.node(user).inputs.size(); ++k) {
        if (body.node(user).inputs[k] == inside) body.set_input(user, k, constant);
      }
    }
    changed = true;
  }
  if (changed) body.infer_types();
  return body;
}

}  // namespace lathe::compiler
