// `lathe verify M.onnx` and `lathe verify A.onnx B.onnx`: graphs of any kind.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/verb.h"
#include "verify/verify_graph.h"

namespace lathe::cli {

struct GraphVerifyFlags {
  std::vector<std::string> inputs;  // NAME=FILE
  std::vector<std::string> shapes;  // NAME=1x3x224x224, SYMBOL=8
  int seeds = 0;                    // 0: 1 for one graph, 3 for two
  std::optional<double> tolerance;
  bool reference = false;
  std::string precision = {};  // of one graph; empty: fp32, or the engine's

  bool used() const { return !inputs.empty() || !shapes.empty() || seeds != 0 || tolerance || reference; }
};
void add_graph_verify_flags(CLI::App& command, GraphVerifyFlags& flags);

// `b` may be empty. Throws usage for flags that are malformed, invalid_input for graphs that cannot be compared.
Exit verify_graphs(const std::string& a, const std::string& b, const GraphVerifyFlags& flags, int threads,
                   const std::string& isa, const Output& output);

// The options of a verification of graphs. Throws usage.
verify::GraphVerifyOptions graph_verify_options(const GraphVerifyFlags& flags, int threads, const std::string& isa,
                                                const Output& output);
// `lathe verify M.lathe` of an engine of graphs; `write`: the receipt goes into it if it passes.
Exit verify_graph_engine(const std::string& engine, const GraphVerifyFlags& flags, int threads, const std::string& isa,
                         bool full, bool write, const Output& output);

}  // namespace lathe::cli
