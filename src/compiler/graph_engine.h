// From graphs of any kind to one engine file, and back (docs/adr/0008).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "compiler/build.h"
#include "compiler/graph_build.h"
#include "ir/model.h"
#include "plan/engine_file.h"

namespace lathe::compiler {

struct GraphEngineOptions {
  GraphBuildOptions build = {};  // its islands: GraphToBuild has them
  int threads = 0;  // for packing; 0: all
  ProgressSink progress = null_progress();
};

// One of the graphs that an engine is to hold.
struct GraphToBuild {
  std::string name = "main";
  ir::Graph graph;
  std::vector<plan::InputProfile> profile = {};
  bool allow_nonfinite = false;
  std::vector<plan::Island> islands = {};  // of the precision that is built (GraphEngineOptions::build)
};

struct GraphEngineRequest {
  std::vector<GraphToBuild> graphs;
  std::map<std::string, ir::Asset> assets = {};
  std::string pipeline = {};  // JSON text
};

// Plans are made, nothing is written yet.
class PreparedGraphEngine {
 public:
  // Throws as build_graph does, naming the graph.
  PreparedGraphEngine(GraphEngineRequest request, const GraphEngineOptions& options);
  ~PreparedGraphEngine();

  // Products that stay in f32, by graph; those that have any.
  std::map<std::string, std::vector<plan::Island>> islands() const;

  // Upper bounds; verification is not in them, for it runs the graphs.
  BuildPrediction predict() const;

  using Verify = PreparedBuild::Verify;
  // As PreparedBuild::write. Memory is bounded by a few of the largest constants.
  void write(const std::filesystem::path& destination, const Verify& verify = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The graph that an engine keeps, its constants read back out of the stored ones; the sources keep the engine open.
// Throws invalid_input when the text does not fit the constants.
ir::Graph stored_graph(const std::shared_ptr<const plan::EngineFile>& engine, const plan::EngineGraph& graph);

// All of them, with assets and pipeline: what a rebuild starts from.
GraphEngineRequest engine_request(const std::shared_ptr<const plan::EngineFile>& engine);

}  // namespace lathe::compiler
