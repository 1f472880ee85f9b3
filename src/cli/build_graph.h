// `lathe build M.onnx -o M.lathe`: a graph of any kind as a verified engine.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/quantize_pictures.h"
#include "cli/verb.h"
#include "cli/verify_graph.h"
#include "frontend/picture_checkpoint.h"
#include "opt/pass_manager.h"

namespace lathe::cli {

struct GraphBuildFlags {
  GraphVerifyFlags verify;
  std::vector<std::string> min_shapes, opt_shapes, max_shapes;  // NAME=1x3x224x224, SYMBOL=8
  bool allow_nonfinite = false;
  QuantizeFlags quantize;

  bool used() const {
    return quantize != QuantizeFlags{} || verify.used() || !min_shapes.empty() || !opt_shapes.empty() ||
           !max_shapes.empty() || allow_nonfinite;
  }
};
void add_graph_build_flags(CLI::App& command, GraphBuildFlags& flags);

struct GraphBuildRequest {
  std::filesystem::path source;  // .onnx, a picture pipeline, or an engine of graphs to rebuild
  frontend::PictureOptions pictures = {};
  std::filesystem::path destination;
  GraphBuildFlags flags;
  opt::PassOptions passes;
  std::string precision;  // empty: fp32, or that of the engine to rebuild
  int threads = 0;
  bool verify = true;
  bool full_verify = false;
};
// Throws usage for flags that are malformed or do not fit the graph, verification for a gate that fails (no engine is
// left then), resource.
Exit build_graph_engine(GraphBuildRequest request, const Output& output);

}  // namespace lathe::cli
