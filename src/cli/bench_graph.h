// `lathe bench M.onnx`: milliseconds a call of a compiled graph.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/run_graph.h"

namespace lathe::cli {

struct GraphBenchFlags {
  std::vector<std::string> inputs;  // NAME=FILE
  std::vector<std::string> shapes;  // NAME=1x3x224x224
  bool profile = false;
  std::string graph;  // of an engine; empty: the only one
  bool allow_nonfinite = false;
  std::string precision;  // empty: fp32, or the engine's
};
void add_graph_bench_flags(CLI::App& command, GraphBenchFlags& flags);

// An .onnx file or an engine of graphs. Throws usage for flags that are malformed, unsupported for inputs whose lengths
// nobody gave.
Exit bench_graph(const std::filesystem::path& model, const GraphBenchFlags& flags, int repeats,
                 const runtime::GraphOptions& options, const Output& output);

}  // namespace lathe::cli
