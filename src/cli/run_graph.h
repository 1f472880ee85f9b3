// Running a graph on tensors from files: `lathe run M.onnx --input NAME=F`.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cli/verb.h"
#include "runtime/graph_session.h"

namespace lathe::cli {

struct GraphFlags {
  std::vector<std::string> inputs;  // NAME=FILE, .npy or .pb
  std::string output_dir;           // empty: outputs are only described
  bool dump_tensors = false;        // every result, not only outputs
  int64_t max_iterations = int64_t{1} << 32;
  bool reference = false;  // on the reference executor, operator by operator
  std::string graph;       // of an engine; empty: the only one
  bool allow_nonfinite = false;
  bool check = false;     // an engine's weights first
  std::string precision;  // empty: fp32, or the engine's
};
void add_graph_flags(CLI::App& command, GraphFlags& flags);

// What the file of a value is called, without extension: its name, with _ for / and :.
std::string file_stem(std::string name);

// Texts NAME=FILE as tensors by name. Throws usage for other texts.
std::map<std::string, op::Datum> read_graph_inputs(const std::vector<std::string>& texts);

// Opens or compiles the graph (or, if `reference`, takes it as it is), runs it and writes its outputs. Throws usage for
// flags that do not fit together, invalid_input for inputs that are not the graph's or outside its profile,
// verification for outputs that are not finite.
Exit run_graph(const std::filesystem::path& model, const GraphFlags& flags, const runtime::GraphOptions& options,
               const Output& output);

}  // namespace lathe::cli
