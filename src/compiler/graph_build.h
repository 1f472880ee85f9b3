// A graph of any kind as a plan that runs: fused, with weights in the order that the device's kernels read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/graph_kernel.h"
#include "contract/contract.h"
#include "ir/graph.h"
#include "opt/pass_manager.h"
#include "opt/product_rounding.h"
#include "plan/graph_engine.h"

namespace lathe::compiler {

struct GraphBuildOptions {
  std::string device = "cpu";
  bool fuse = true;  // false: one instruction for each node, as it is
  // Of -O2 and of lowering: names to disable, checked mode. The level is O2 whatever stands here.
  opt::PassOptions passes = {};
  // Of products with weights: fp32, bf16 or fp16, but for those whose results are named and for graphs inside nodes.
  // int8 is in the graph already (opt/quantize.h).
  contract::Precision precision = contract::Precision::fp32;
  std::vector<plan::Island> islands = {};
};

// Throws usage for a text that is none of fp32, bf16, fp16 and int8; empty is fp32.
contract::Precision graph_precision(const std::string& text);
// What products with weights are rounded to.
opt::ProductRounding rounding_of_products(contract::Precision precision);

// Throws unsupported for a device this program does not know; resource.
std::shared_ptr<const plan::GraphModel> build_graph(ir::Graph graph, const GraphBuildOptions& options = {});

// Products and convolutions as the device computes them, everything else one instruction for each node: what rules of
// -O2 do is left out, so that two graphs of which one was optimised can be compared, and no value is fused away.
std::shared_ptr<const plan::GraphModel> build_node_by_node(ir::Graph graph);

// One constant of a plan, and what it is made from.
struct ConstantJob {
  plan::GraphModel* model;
  size_t index;
  tensor::SourcePtr source;
  const backend::GraphLayout* layout = nullptr;  // null: as it is
  plan::Instruction instruction = {};            // that reads it, without operands; of a packed constant
  int64_t variant = 0;

  tensor::Tensor plain() const;   // in place where that is possible
  tensor::Tensor packed() const;  // in the layout
};

// A plan whose constants are not there yet.
struct PlannedGraph {
  std::shared_ptr<plan::GraphModel> model;
  std::vector<ConstantJob> constants;  // of the plan and of its bodies
  std::vector<plan::GraphModel*> bodies = {};
  std::vector<plan::Island> islands = {};  // those of the options, and what the weights alone ask for
};

// -O2, as build_graph does it.
void optimise_graph(ir::Graph& graph, const GraphBuildOptions& options);
// Lowering and rounding, as plan_graph does them; returns all islands.
std::vector<plan::Island> lower_graph(ir::Graph& graph, const GraphBuildOptions& options);
// What build_graph does behind -O2, but for the constants.
PlannedGraph plan_graph(ir::Graph graph, const GraphBuildOptions& options);
// The rest of build_graph: loads the constants, packed by all threads.
std::shared_ptr<const plan::GraphModel> load_constants(PlannedGraph planned);

}  // namespace lathe::compiler
