// Which nodes of a graph bear 16 bits: found on samples (docs/adr/0013).
#pragma once

#include "base/log.h"
#include "calibrate/cost.h"
#include "opt/sixteen_bit.h"

namespace lathe::calibrate {

struct SixteenBitBounds {
  double node_db = 0;    // signal to noise of a node's result, from right inputs
  double output_db = 0;  // peak signal to noise of each output of the whole graph
};
// What gates 2 and 3 of engines allow (verify/precision_cost.h, verify/graph_calibration.h): f16 50 dB, bf16 35 dB.
SixteenBitBounds sixteen_bit_bounds(tensor::DType type);

struct SixteenBitCost {
  opt::SixteenBitOptions options;  // as given, with what has to stay in f32 in `keep`
  std::vector<opt::SixteenBitPlace> places;
  std::vector<NodeCost> nodes;      // of those that do not stay, where a run shows them; in order
  std::vector<OutputCost> outputs;  // of the whole graph
};

// Runs the graph in f32 and as it would be in 16 bits on each sample, and keeps in f32: nodes that read or give a
// number beyond the type's range, or a constant of a mask that is; nodes whose own noise is above the bound, with those
// whose results they read; then, while an output is beyond its bound, the noisiest that it depends on, twice as many in
// each round. What is left of noise when all stay in f32 is none. Throws unsupported where no node can be of the type;
// verification where outputs have other lengths; what running throws.
SixteenBitCost find_sixteen_bits(const ir::Graph& floats, const opt::SixteenBitOptions& options,
                                 const SixteenBitBounds& bounds, const Samples& samples,
                                 const runtime::GraphOptions& run, const ProgressSink& progress = null_progress());

}  // namespace lathe::calibrate
