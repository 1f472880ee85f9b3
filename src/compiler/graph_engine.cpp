#include "compiler/graph_engine.h"

#include <algorithm>

#include "base/checked.h"
#include "base/file.h"
#include "base/memory.h"
#include "compiler/constant_store.h"
#include "ir/body.h"
#include "plan/engine_header.h"
#include "plan/graph_body.h"
#include "plan/manifest.h"

namespace lathe::compiler {
namespace {

using plan::EngineGraph;
using plan::GraphModel;
using tensor::SourcePtr;

constexpr int64_t kGraphOpset = 27;        // of the text
constexpr double kBytesPerSecond = 0.5e9;  // packing by two threads, conservative
constexpr uint64_t kBaseMemory = uint64_t{96} << 20;
constexpr uint64_t kReceipt = uint64_t{64} << 10;
constexpr uint64_t kHashDigits = 32;

// Constants by name, in the order in which the text names them.
void each_named_constant(const ir::Graph& graph,
                         const std::function<void(const std::string&, const SourcePtr&)>& visit) {
  for (const ir::Value value : graph.constants()) {
    if (!ir::prints_inline(graph, value)) visit(graph.source_name(value), graph.source(value));
  }
  for (const ir::NodeId id : graph.nodes()) {
    ir::each_body(graph.node(id), [&](const std::string&, const ir::Graph& body) { each_named_constant(body, visit); });
  }
}

// The same with graphs inside nodes optimised, too: what is folded there need not stand in the text.
ir::Graph with_optimised_bodies(ir::Graph graph, const GraphBuildOptions& options) {
  bool changed = false;
  const std::vector<ir::NodeId> nodes(graph.nodes().begin(), graph.nodes().end());
  for (const ir::NodeId id : nodes) {
    std::vector<std::pair<std::string, ir::Graph>> bodies;
    ir::each_body(graph.node(id), [&](const std::string& name, const ir::Graph& body) {
      bodies.emplace_back(name, with_optimised_bodies(body, options));
    });
    for (auto& [name, body] : bodies) {
      optimise_graph(body, options);
      graph.set_attribute(id, name, op::SubgraphPtr(std::make_shared<const ir::Body>(std::move(body))));
      changed = true;
    }
  }
  if (changed) graph.infer_types();
  return graph;
}

// Types as the reader of the engine will infer them, in bodies too.
void set_types(GraphModel& model) {
  const std::vector<op::TypeInfo> types = plan::infer_types(model);
  for (size_t i = 0; i < types.size(); ++i) model.plan.values[i].type = types[i];
}

}  // namespace

struct PreparedGraphEngine::Impl {
  struct Planned {
    EngineGraph entry;
    ir::Graph kept;
    PlannedGraph planned;
  };
  GraphEngineOptions options;
  std::vector<Planned> graphs;
  std::map<std::string, ir::Asset> assets;
  std::string pipeline;

  Impl(GraphEngineRequest request, const GraphEngineOptions& o);
  plan::Manifest manifest() const;
  void store(plan::EngineWriter& writer);
};

PreparedGraphEngine::Impl::Impl(GraphEngineRequest request, const GraphEngineOptions& o)
    : options(o), assets(std::move(request.assets)), pipeline(std::move(request.pipeline)) {
  if (request.graphs.empty()) fail(ErrorCode::usage, "an engine of no graphs");
  for (GraphToBuild& given : request.graphs) {
    const std::string name = given.name;
    with_context(fmt::format("graph \"{}\"", name), [&] {
      Planned entry{.entry = {}, .kept = with_optimised_bodies(std::move(given.graph), options.build), .planned = {}};
      optimise_graph(entry.kept, options.build);
      GraphBuildOptions build = options.build;
      build.islands = std::move(given.islands);
      entry.planned = plan_graph(entry.kept, build);
      entry.entry.precision = build.precision;
      entry.entry.islands = entry.planned.islands;
      entry.entry.name = name;
      entry.entry.text = ir::print(entry.kept);
      entry.entry.profile = std::move(given.profile);
      entry.entry.allow_nonfinite = given.allow_nonfinite;
      entry.entry.model = entry.planned.model;
      graphs.push_back(std::move(entry));
    });
  }
}

plan::Manifest PreparedGraphEngine::Impl::manifest() const {
  plan::Manifest manifest;
  manifest.producer = "lathe " LATHE_VERSION;
  manifest.opset = kGraphOpset;
  manifest.pipeline = pipeline;
  for (const Planned& graph : graphs) manifest.graphs.push_back(graph.entry);
  return manifest;
}

void PreparedGraphEngine::Impl::store(plan::EngineWriter& writer) {
  Team team(options.threads > 0 ? options.threads : available_cpus());
  ConstantStore constants(writer, team);
  uint64_t done = 0, total = 0;
  for (const Planned& graph : graphs) {
    for (const ConstantJob& job : graph.planned.constants)
      total += job.source->dtype() == tensor::DType::string ? 0 : job.source->byte_size();
  }
  for (Planned& graph : graphs) {
    constants.store(graph.planned.constants, [&](uint64_t bytes) {
      done += bytes;
      options.progress({"pack weights", done, total});
    });
    set_types(*graph.planned.model);
    for (GraphModel* body : graph.planned.bodies) set_types(*body);
  }
  for (Planned& graph : graphs) {
    graph.entry.sources.clear();
    each_named_constant(graph.kept, [&](const std::string& name, const SourcePtr& source) {
      graph.entry.sources.push_back(with_context(source->origin(), [&] { return constants.source(name, source); }));
    });
  }
}

PreparedGraphEngine::PreparedGraphEngine(GraphEngineRequest request, const GraphEngineOptions& options)
    : impl_(std::make_unique<Impl>(std::move(request), options)) {}
PreparedGraphEngine::~PreparedGraphEngine() = default;

std::map<std::string, std::vector<plan::Island>> PreparedGraphEngine::islands() const {
  std::map<std::string, std::vector<plan::Island>> islands;
  for (const Impl::Planned& graph : impl_->graphs) {
    if (!graph.entry.islands.empty()) islands.emplace(graph.entry.name, graph.entry.islands);
  }
  return islands;
}

BuildPrediction PreparedGraphEngine::predict() const {
  BuildPrediction prediction;
  uint64_t largest = 0, weights = 0;
  const auto add = [&](const ConstantJob& job) {
    if (job.source->dtype() == tensor::DType::string) return;
    const bool packed = job.layout && job.layout->stored();
    const uint64_t plain = job.source->byte_size();
    const uint64_t bytes = packed ? job.layout->size(job.source->dims(), job.variant) : plain;
    weights += bytes + plan::kWeightAlignment;
    largest = std::max(largest, std::max(plain, bytes) + plan::kWeightAlignment);
  };
  for (const Impl::Planned& graph : impl_->graphs) {
    for (const ConstantJob& job : graph.planned.constants) add(job);
    prediction.disk_bytes += 3 * graph.entry.text.size();  // the plan says the same again
  }
  for (const auto& [name, asset] : impl_->assets) weights += asset.bytes.size() + plan::kWeightAlignment;
  prediction.disk_bytes += plan::kHeaderBytes + weights + ceil_div(weights, plan::kHashChunk) * kHashDigits + kReceipt;
  prediction.pack_memory_bytes = kBaseMemory + 4 * largest;
  prediction.memory_bytes = prediction.pack_memory_bytes;
  prediction.seconds = double(prediction.disk_bytes) / kBytesPerSecond;
  return prediction;
}

void PreparedGraphEngine::write(const std::filesystem::path& destination, const Verify& verify) {
  const BuildPrediction prediction = predict();
  const uint64_t free_disk = available_disk_bytes(destination);
  const uint64_t free_memory = available_memory_bytes();
  if (prediction.disk_bytes > free_disk || prediction.memory_bytes > free_memory) {
    fail(ErrorCode::resource,
         "\"{}\" needs {} bytes of disk and {} bytes of memory, there are {} bytes of disk and {} bytes of memory",
         destination.string(), prediction.disk_bytes, prediction.memory_bytes, free_disk, free_memory);
  }
  plan::EngineWriter writer(destination);
  impl_->store(writer);
  plan::Manifest manifest = impl_->manifest();
  for (const auto& [name, asset] : impl_->assets) manifest.assets.push_back(writer.add_asset(name, asset.bytes));
  writer.finish(manifest);
  if (verify) writer.set_receipt(verify(writer.temporary_path()));
  writer.commit();
}

}  // namespace lathe::compiler
