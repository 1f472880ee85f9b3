// A graph of any kind as a plan that runs: fused, with weights in the order that the device's kernels read.
#pragma once

#include <memory>
#include <string>

#include "ir/graph.h"
#include "plan/graph_plan.h"

namespace lathe::compiler {

struct GraphBuildOptions {
  std::string device = "cpu";
  bool fuse = true;  // false: one instruction for each node, as it is
};

// Throws unsupported for a device this program does not know; resource.
std::shared_ptr<const plan::GraphModel> build_graph(ir::Graph graph, const GraphBuildOptions& options = {});

}  // namespace lathe::compiler
