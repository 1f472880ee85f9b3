#include "cli/calibration_samples.h"

#include <algorithm>

#include "base/error.h"
#include "cli/run_graph.h"
#include "op/bindings.h"
#include "verify/graph_runs.h"

namespace lathe::cli {

namespace fs = std::filesystem;

namespace {

std::map<std::string, op::TypeInfo> inputs_of(const ir::Graph& graph) {
  std::map<std::string, op::TypeInfo> inputs;
  for (const ir::Value input : graph.inputs()) inputs.emplace(graph.name(input), graph.type(input));
  return inputs;
}

}  // namespace

calibrate::Samples read_samples(const fs::path& folder, size_t most, const ir::Graph& graph) {
  if (!fs::is_directory(folder)) {
    fail(ErrorCode::not_found, "--calibration {}: expected a folder with a folder of inputs for each sample",
         folder.string());
  }
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  if (folders.empty()) folders.push_back(folder);
  std::sort(folders.begin(), folders.end());
  if (most > 0 && most < folders.size()) folders.resize(most);
  const auto load = [folders, inputs = inputs_of(graph)](size_t index) {
    std::vector<std::string> texts;
    for (const auto& [name, type] : inputs) {
      const fs::path stem = folders[index] / file_stem(name);
      const auto file = [&](const char* extension) { return fs::path(stem.string() + extension); };
      const fs::path path = fs::exists(file(".npy")) ? file(".npy") : file(".pb");
      if (fs::exists(path)) {
        texts.push_back(name + "=" + path.string());
      } else if (!op::is_optional(type)) {
        fail(ErrorCode::not_found, "{}: no {}.npy or .pb for input \"{}\" {}", folders[index].string(), file_stem(name),
             name, op::to_string(type));
      }
    }
    return read_graph_inputs(texts);
  };
  return {folders.size(), load};
}

calibrate::Samples made_up_samples(size_t count, const ir::Graph& graph) {
  return {count, [inputs = inputs_of(graph)](size_t index) {
            return verify::make_graph_inputs(inputs, {}, int(index));
          }};
}

}  // namespace lathe::cli
