// Gate 3 of graphs: what rounding to 16 bits costs, measured against the same graph in f32.
#pragma once

#include <memory>
#include <string>

#include "plan/receipt.h"
#include "verify/graph_runs.h"
#include "verify/verify_graph.h"

namespace lathe::verify {

// Peak signal-to-noise ratio in dB; the peak is the largest magnitude expected. Infinite for equal tensors, negative
// infinity where one is not finite and the other is.
double psnr(std::span<const float> expected, std::span<const float> found);
// The least that is allowed: "bf16" 35, "f16" 50, "i8" 25.
double psnr_bound(std::string_view precision);

// Compiles the graph in f32 and runs it beside the one that rounds.
class PrecisionCost {
 public:
  // `precision` as bands.h names it.
  PrecisionCost(const ir::Graph& graph, std::string precision, const GraphVerifyOptions& options);
  // Outputs that the rounding graph gives for these inputs.
  void add(const GraphData& inputs, const GraphData& found);
  plan::Gate gate() const;

 private:
  std::string precision_;
  std::shared_ptr<runtime::GraphSession> session_;
  double least_;  // of all float outputs
  std::string worst_;
  int compared_ = 0;
};

}  // namespace lathe::verify
