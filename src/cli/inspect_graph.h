// `lathe inspect M.onnx`: what is in the file, what its graph computes, and what it becomes when it is compiled.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/verb.h"
#include "io/onnx.h"

namespace lathe::cli {

struct GraphInspectFlags {
  std::vector<std::string> shapes;  // NAME=1x3x224x224, SYMBOL=8
  std::string svg, html;            // files to write

  bool used() const { return !shapes.empty() || !svg.empty() || !html.empty(); }
};
void add_graph_inspect_flags(CLI::App& command, GraphInspectFlags& flags);

// Prints it and returns it. A file whose graph cannot be imported is described as far as it can be read, with the
// reason, unless a flag asks for more. Throws usage for flags that are malformed, unsupported for pictures of large
// graphs.
Json inspect_graph(const std::shared_ptr<const io::OnnxFile>& file, const GraphInspectFlags& flags,
                   const Output& output);

// The model file and those its tensors lie in, each once.
std::vector<std::filesystem::path> onnx_files(const io::OnnxFile& file);

}  // namespace lathe::cli
