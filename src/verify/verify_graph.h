// Graphs of any kind: is the compiled graph what the graph says, and are two graphs the same model?
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "contract/contract.h"
#include "opt/fix_lengths.h"
#include "plan/graph_plan.h"
#include "plan/receipt.h"
#include "verify/compare_values.h"

namespace lathe::verify {

struct GraphVerifyOptions {
  GraphData inputs = {};      // given; the others are made up
  opt::Lengths lengths = {};  // of inputs and symbols that the graph leaves open
  int seeds = 1;         // of made-up inputs; where all are given there is one run
  std::optional<double> tolerance = {};  // instead of the band of the graphs' precision
  bool require_finite = false;  // one graph: gate 1, NaN or infinity in an output fails
  // One graph that is compiled for this: what its products with weights compute in.
  contract::Precision precision = contract::Precision::fp32;
  bool reference = false;  // two graphs: on the reference executor, not compiled node by node
  int threads = 0;
  std::string isa = {};  // empty: one graph on each instruction set of this machine, two graphs on the best
  op::RunLimits limits = {};
  ProgressSink progress = null_progress();
};

struct OutputError {
  std::string name;
  std::string type;   // "f32[1, 1000]", of the first run
  TensorError error;  // the worst of all runs
  bool pass = true;
};

// Where a value comes from; empty for a graph that has no node for it.
struct ValueOrigin {
  std::string node, op;
  std::string kernel;  // of the compiled graph; "reference": the operator's own evaluate
};

struct FirstDifference {
  std::string tensor;
  TensorError error;
  std::string run;  // which run found it: "compiled, avx2"
  ValueOrigin expected, found;
};

struct GraphReport {
  bool pass = false;
  std::string expected, found;  // what was run: "the reference executor", "compiled, avx2 and avx512"
  std::string precision;
  double bound = 0;
  bool forced = false;  // gate 2 computes each value from the reference's; outputs are of a run left to itself
  int runs = 0;                     // on inputs of their own
  std::vector<std::string> inputs;  // "x: f32[1, 3, 224, 224], made up"
  std::vector<plan::Gate> gates;
  std::vector<OutputError> outputs;
  std::optional<FirstDifference> first_difference;
};

// Gate 2: the compiled graph against the reference executor on the graph as it was, value by value, for what both know
// by name. Throws unsupported for graphs that draw random numbers and inputs that cannot be made up; what running
// throws.
GraphReport verify_graph(const ir::Graph& graph, const GraphVerifyOptions& options);

// The same for a model that is compiled already.
GraphReport verify_graph(const ir::Graph& graph, std::shared_ptr<const plan::GraphModel> model,
                         const GraphVerifyOptions& options);

// The outputs of both on the same inputs; where they differ, the first result of A, in its order, that B has by name
// and computes otherwise. Throws invalid_input naming inputs and outputs that only one of them has or that are of other
// types; otherwise as verify_graph.
GraphReport compare_graphs(const ir::Graph& a, const ir::Graph& b, const GraphVerifyOptions& options);

// A table for people.
std::string describe(const GraphReport& report);

}  // namespace lathe::verify
