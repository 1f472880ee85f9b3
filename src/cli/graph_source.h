// What a graph verb is given: an .onnx file, compiled when it is opened, or a graph of an engine.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "plan/engine_file.h"
#include "plan/graph_plan.h"
#include "runtime/graph_session.h"

namespace lathe::cli {

// Whether the path names an ONNX file, or an engine of graphs.
bool is_graph_file(const std::filesystem::path& path);
bool is_graph_model(const std::filesystem::path& path);

// What `--precision` asks of a graph; empty: the engine's own, else fp32. Throws usage for a text that is none,
// unsupported for an engine that computes in another one, with the command that builds it.
contract::Precision precision_of_graphs(const std::string& wish, const plan::EngineFile* engine);

// Throws usage where int8 is asked of a graph that no picture can be drawn with.
void refuse_int8(contract::Precision precision, const std::filesystem::path& path);

class GraphSource {
 public:
  // `name`: which graph of an engine; empty: the only one, or "main". Throws usage for a name that goes with no engine,
  // not_found, and as opening does.
  static GraphSource open(const std::filesystem::path& path, const std::string& name = {}, bool check = false,
                          const std::string& precision = {});

  const std::shared_ptr<const plan::EngineFile>& engine() const { return engine_; }  // null: an .onnx file
  const plan::EngineGraph* entry() const { return entry_; }
  std::vector<std::pair<std::string, op::TypeInfo>> inputs() const;
  std::vector<std::string> outputs() const;
  std::vector<std::string> values() const;  // names of results that a run may show
  size_t nodes() const;                     // of the graph, or instructions of the engine
  contract::Precision precision() const { return precision_; }
  bool allow_nonfinite() const { return entry_ && entry_->allow_nonfinite; }
  // The graph itself, for the reference executor.
  ir::Graph graph() const;
  // What runs. An .onnx file is compiled at each call.
  std::shared_ptr<const plan::GraphModel> model() const;
  // These with the engine's profile.
  runtime::GraphOptions session_options(runtime::GraphOptions options) const;

 private:
  std::shared_ptr<const plan::EngineFile> engine_;
  const plan::EngineGraph* entry_ = nullptr;  // of the engine's manifest
  std::optional<ir::Graph> graph_;            // imported
  contract::Precision precision_ = contract::Precision::fp32;
};

}  // namespace lathe::cli
