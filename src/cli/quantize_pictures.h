// Picture pipelines in 8 bits: what rounds, found on a picture that the pipeline draws in fp32 (docs/adr/0015).
#pragma once

#include <string>
#include <vector>

#include "cli/verb.h"
#include "plan/graph_engine.h"
#include "verify/picture_gates.h"

namespace lathe::cli {

struct QuantizeFlags {
  std::vector<std::string> keep;  // products of the UNet that stay in fp32
  double keep_below = 12;         // dB
  std::string isa;                // what it is to be fast on; empty: the best of this machine

  bool operator==(const QuantizeFlags&) const = default;
};
void add_quantize_flags(CLI::App& command, QuantizeFlags& flags);

struct QuantizedGraph {
  ir::Graph graph;
  std::vector<plan::Island> islands;  // what stays in fp32
};

// One graph of the pipeline, for int8. The UNet rounds where 8 bits are faster and its products bear it; what it gives,
// and each step of the scheduler from the same latents, are then within the bound of gate 9, or more of it is left in
// fp32 until they are. The others run once for a picture and stay as they are. Throws verification where no share of
// the UNet in 8 bits is within the bound, usage for names to keep that are none of its products.
QuantizedGraph quantize_picture_graph(const std::string& name, ir::Graph floats,
                                      const verify::PictureRecording& recording, const QuantizeFlags& flags,
                                      const runtime::GraphOptions& options, const Output& output);

}  // namespace lathe::cli
