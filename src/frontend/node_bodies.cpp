#include "frontend/node_bodies.h"

#include "base/error.h"
#include "ir/body.h"

namespace lathe::frontend {

NodeBodies bodies_of(const ir::Node& node) {
  NodeBodies result{node.inputs.size(), {}};
  if (node.op == "lathe.Contrib") return result;  // what it means is not written
  ir::each_body(node, [&](const std::string& name, const ir::Graph& graph) {
    result.bodies.push_back({name, &graph, 0, 0});
  });
  if (result.bodies.empty()) return result;
  if (node.op == "ai.onnx.preview.FlexAttention") {
    for (NodeBody& body : result.bodies) body.formal = 1;  // the scores, or the probabilities
  } else if (node.op != "If") {
    LATHE_CHECK(result.bodies.size() == 1, "{} bodies of {}", result.bodies.size(), node.op);
    const int64_t captures = node.attributes.get_int("num_captures", 0);
    result.bodies[0].formal = node.inputs.size() - size_t(captures);
  }
  for (const NodeBody& body : result.bodies) result.own_inputs -= body.captures();
  size_t next = result.own_inputs;
  for (NodeBody& body : result.bodies) {
    body.first_capture = next;
    next += body.captures();
  }
  return result;
}

}  // namespace lathe::frontend
