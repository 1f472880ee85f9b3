// Islands of a lower precision: which products of a graph have to stay in f32, found by running it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "contract/contract.h"
#include "opt/pass_manager.h"
#include "plan/graph_engine.h"
#include "verify/graph_runs.h"

namespace lathe::verify {

struct CalibrationOptions {
  opt::PassOptions passes = {};  // as the build's
  int threads = 0;
  std::string isa = {};
  op::RunLimits limits = {};
  ProgressSink progress = null_progress();
};

struct Calibration {
  std::vector<plan::Island> islands;
  int products = 0;  // that were looked at
  double worst = 0;  // of those that round: how far the result moves (root mean square, as a share of its own)
  std::string worst_name;
};

// How far a product's result, or that of an attention behind it, may move.
double moved_bound(contract::Precision precision);

// Runs the graph in f32 on each of `calls` and computes each of its products with weights again in `precision` from the
// inputs that it had; the products whose results move too far, or are not finite, become islands. The same is done
// for what leads from products to the logits of an Attention or a Softmax, whose result counts: those products become
// islands together. Throws as running does.
Calibration calibrate(const ir::Graph& graph, contract::Precision precision, std::span<const GraphData> calls,
                      const CalibrationOptions& options);

}  // namespace lathe::verify
