#include "cli/graph_source.h"

#include "backend/graph_load.h"
#include "base/error.h"
#include "compiler/graph_build.h"
#include "compiler/graph_engine.h"
#include "frontend/onnx_import.h"

namespace lathe::cli {

bool is_graph_file(const std::filesystem::path& path) {
  return path.extension() == ".onnx" && !std::filesystem::is_directory(path);
}

bool is_graph_model(const std::filesystem::path& path) {
  return is_graph_file(path) || plan::is_graph_engine(path);
}

contract::Precision precision_of_graphs(const std::string& wish, const plan::EngineFile* engine) {
  const contract::Precision precision = compiler::graph_precision(wish);
  if (!engine) return precision;
  const contract::Precision own = engine->manifest().graphs.at(0).precision;
  if (wish.empty() || precision == own) return own;
  fail(ErrorCode::unsupported,
       "--precision {}: \"{}\" computes in {}; build it: lathe build {} -o NEW.lathe --precision {}", wish,
       engine->path().string(), to_string(own), own == contract::Precision::fp32 ? engine->path().string() : "MODEL",
       wish);
}

void refuse_int8(contract::Precision precision, const std::filesystem::path& path) {
  if (precision != contract::Precision::int8) return;
  fail(ErrorCode::usage,
       "--precision int8: nothing says what the inputs of \"{}\" are like, which scales are made from; lathe quantize "
       "makes an .onnx file of 8 bits from samples",
       path.string());
}

GraphSource GraphSource::open(const std::filesystem::path& path, const std::string& name, bool check,
                              const std::string& precision) {
  GraphSource source;
  if (is_graph_file(path)) {
    if (!name.empty()) fail(ErrorCode::usage, "--graph {}: an .onnx file has one graph", name);
    source.precision_ = precision_of_graphs(precision, nullptr);
    refuse_int8(source.precision_, path);
    source.graph_ = frontend::import_onnx(io::OnnxFile::open(path));
    return source;
  }
  source.engine_ = plan::EngineFile::open(path);
  plan::require_kind(*source.engine_, true);
  source.precision_ = precision_of_graphs(precision, source.engine_.get());
  if (check) source.engine_->check_weights();
  source.entry_ = &plan::get_graph(source.engine_->manifest().graphs, name);
  return source;
}

std::vector<std::pair<std::string, op::TypeInfo>> GraphSource::inputs() const {
  std::vector<std::pair<std::string, op::TypeInfo>> inputs;
  if (graph_) {
    for (const ir::Value input : graph_->inputs()) inputs.emplace_back(graph_->name(input), graph_->type(input));
    return inputs;
  }
  const plan::GraphPlan& plan = entry_->model->plan;
  for (const int64_t input : plan.inputs) {
    inputs.emplace_back(plan.values[size_t(input)].name, plan.values[size_t(input)].type);
  }
  return inputs;
}

std::vector<std::string> GraphSource::outputs() const {
  std::vector<std::string> names;
  if (graph_) {
    for (const ir::Value output : graph_->outputs()) names.push_back(graph_->name(output));
    return names;
  }
  for (const plan::GraphOutput& output : entry_->model->plan.outputs) names.push_back(output.name);
  return names;
}

std::vector<std::string> GraphSource::values() const {
  std::vector<std::string> names;
  if (graph_) {
    for (const ir::NodeId id : graph_->nodes()) {
      for (const ir::Value value : graph_->node(id).outputs) {
        if (value) names.push_back(graph_->name(value));
      }
    }
    return names;
  }
  for (const plan::GraphValue& value : entry_->model->plan.values) names.push_back(value.name);
  return names;
}

size_t GraphSource::nodes() const {
  return graph_ ? graph_->nodes().size() : entry_->model->plan.instructions.size();
}

ir::Graph GraphSource::graph() const {
  return graph_ ? *graph_ : compiler::stored_graph(engine_, *entry_);
}

std::shared_ptr<const plan::GraphModel> GraphSource::model() const {
  if (!graph_) return backend::load_graph(*engine_, *entry_);
  compiler::GraphBuildOptions options;
  options.precision = precision_;
  return compiler::build_graph(*graph_, options);
}

runtime::GraphOptions GraphSource::session_options(runtime::GraphOptions options) const {
  if (entry_) options.profile = entry_->profile;
  return options;
}

}  // namespace lathe::cli
