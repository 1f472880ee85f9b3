#include "compiler/build.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "backend/cpu/layout_names.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "compiler/plan_builder.h"
#include "opt/pipeline.h"
#include "opt/to_packed.h"
#include "text/tokenizer.h"

namespace lathe::compiler {
namespace {

using contract::Precision;
using tensor::SourcePtr;

// The graph text is of the exported form at this opset, with lathe.* operators.
constexpr int64_t kGraphOpset = 27;
// Bytes packed at a time by one thread.
constexpr size_t kChunk = size_t{4} << 20;
// Conservative rates for predictions: packing by two threads, and what the file system takes.
constexpr double kBytesPerSecond = 0.8e9;

struct Rounding {
  std::string compute;
  std::string kv;
};

Rounding rounding_of(Precision precision) {
  switch (precision) {
    case Precision::fp32: return {"f32", "f32"};
    case Precision::fp16: return {"f16", "f16"};
    case Precision::bf16: return {"bf16", "bf16"};
    // Activations to 16 bits in blocks. With 8 bits, an activation a thousand times its neighbours (which trained
    // decoders have, at the first and at special tokens) rounds these to zero: docs/architecture.md has the case.
    case Precision::q8: return {"i16", "f16"};
  }
  return {"f32", "f32"};
}

Rounding choose_rounding(const contract::Contract& contract, const BuildOptions& options) {
  Rounding rounding = rounding_of(contract.precision);
  const std::string& wish = options.precision;
  if (wish == "fp32") {
    rounding = rounding_of(Precision::fp32);
  } else if (wish == "int8" || wish == "int16") {
    if (contract.precision != Precision::q8) {
      fail(ErrorCode::unsupported, "precision {} needs block-quantised weights, the checkpoint is {}", wish,
           to_string(contract.precision));
    }
    rounding = {wish == "int8" ? "i8" : "i16", "f16"};
  } else if (wish == "fp16" || wish == "bf16") {
    if (wish != to_string(contract.precision)) {
      fail(ErrorCode::unsupported, "precision {} for a checkpoint in {}: an engine keeps the checkpoint's own so far",
           wish, to_string(contract.precision));
    }
  } else if (!wish.empty()) {
    fail(ErrorCode::usage, "precision \"{}\" is not known (fp32, fp16, bf16, int16, int8)", wish);
  }
  static const std::map<std::string, std::string> kCache = {{"fp32", "f32"}, {"fp16", "f16"}, {"bf16", "bf16"}};
  if (!options.kv.empty()) {
    const auto it = kCache.find(options.kv);
    if (it == kCache.end()) fail(ErrorCode::usage, "cache type \"{}\" is not known (fp32, fp16, bf16)", options.kv);
    rounding.kv = it->second;
  }
  return rounding;
}

}  // namespace

struct PreparedBuild::Impl {
  BuildOptions options;
  const ir::Model& model;
  std::string graph_text;
  BuiltPlan built;
  std::vector<opt::PassReport> reports;

  Impl(const ir::Model& m, const BuildOptions& o) : options(o), model(m) {}
  void prepare();
  void add_graph_constants(const ir::Graph& graph);
  void pack(plan::EngineWriter& writer);
  void pack_constant(plan::EngineWriter& writer, size_t index, Team& team, const std::function<void(size_t)>& done);
  uint64_t weight_bytes() const;
};

void PreparedBuild::Impl::prepare() {
  ir::Graph graph = model.graphs.at("main");
  reports = opt::optimise(graph, options.passes);
  graph_text = ir::print(graph);
  const Rounding rounding = choose_rounding(model.contract, options);
  opt::PackOptions pack_options;
  pack_options.compute = rounding.compute;
  pack_options.kv = *tensor::find_dtype(rounding.kv);
  ir::Graph packed = opt::to_packed(graph, pack_options);
  opt::PassOptions packed_passes = options.passes;
  packed_passes.check_inputs.clear();
  if (packed_passes.dump) {
    packed_passes.dump = [dump = options.passes.dump](std::string_view name, const std::string& text) {
      dump(fmt::format("packed_{}", name), text);
    };
  }
  for (opt::PassReport& report : opt::optimise(packed, packed_passes)) {
    report.name = "packed " + report.name;
    reports.push_back(std::move(report));
  }
  built = build_plan(packed, {rounding.compute, rounding.kv, pack_options.kv_block}, options.log);
  add_graph_constants(graph);
}

// Constants that only the graph text names (folded tables above the size that text prints) travel too.
void PreparedBuild::Impl::add_graph_constants(const ir::Graph& graph) {
  for (const ir::Value value : graph.constants()) {
    const std::string& name = graph.source_name(value);
    const SourcePtr& source = graph.source(value);
    const auto& constants = built.plan.constants;
    const bool held = std::any_of(constants.begin(), constants.end(),
                                  [&](const plan::Constant& constant) { return constant.name == name; });
    if (held || ir::prints_inline(graph, value)) continue;
    built.plan.constants.push_back({.name = name,
                                    .dtype = source->dtype(),
                                    .encoding = source->encoding(),
                                    .dims = source->dims(),
                                    .layout = "plain",
                                    .offset = 0,
                                    .bytes = int64_t(source->byte_size())});
    built.sources.push_back(source);
  }
}

uint64_t PreparedBuild::Impl::weight_bytes() const {
  uint64_t bytes = 0;
  for (const plan::Constant& constant : built.plan.constants) {
    bytes += align_up(uint64_t(constant.bytes), plan::kWeightAlignment);
  }
  return bytes;
}

void PreparedBuild::Impl::pack_constant(plan::EngineWriter& writer, size_t index, Team& team,
                                        const std::function<void(size_t)>& done) {
  const plan::Constant& constant = built.plan.constants[index];
  const tensor::Source& source = *built.sources[index];
  const bool plain = constant.layout == "plain";
  const int64_t rows = source.rows();
  const auto layout = backend::cpu::find_layout(constant.layout);
  const int64_t unit_rows = plain ? 1 : backend::cpu::kPanelRows;
  const size_t unit_bytes = plain ? source.row_size() : backend::cpu::panel_size(*layout, source.row_elements());
  const int64_t units = ceil_div(rows, unit_rows);
  const int64_t step = std::max<int64_t>(1, int64_t(kChunk / std::max<size_t>(unit_bytes, 1)));
  team.for_each(ceil_div(units, step), [&](int64_t chunk) {
    const int64_t first = chunk * step;
    const int64_t count = std::min(step, units - first);
    std::vector<std::byte> buffer(size_t(count) * unit_bytes);
    if (plain) source.read_rows(first, count, buffer);
    else backend::cpu::pack_panels(*layout, source, first, count, buffer);
    source.drop_rows(first * unit_rows, std::min(count * unit_rows, rows - first * unit_rows));
    writer.write(constant.offset + first * int64_t(unit_bytes), buffer);
    done(buffer.size());
  });
}

void PreparedBuild::Impl::pack(plan::EngineWriter& writer) {
  Team team(options.threads > 0 ? options.threads : available_cpus());
  const uint64_t total = weight_bytes();
  std::mutex mutex;
  uint64_t packed = 0;
  const auto done = [&](size_t bytes) {
    const std::lock_guard lock(mutex);
    packed += bytes;
    options.progress({"pack weights", packed, total});
  };
  for (size_t i = 0; i < built.plan.constants.size(); ++i) {
    built.plan.constants[i].offset = writer.allocate(built.plan.constants[i].bytes);
    with_context(built.sources[i]->origin(), [&] { pack_constant(writer, i, team, done); });
    check_mapping_faults();
  }
}

PreparedBuild::PreparedBuild(const ir::Model& model, const BuildOptions& options)
    : impl_(std::make_unique<Impl>(model, options)) {
  impl_->prepare();
}
PreparedBuild::~PreparedBuild() = default;

const plan::Plan& PreparedBuild::plan() const { return impl_->built.plan; }
const std::vector<opt::PassReport>& PreparedBuild::reports() const { return impl_->reports; }

BuildPrediction PreparedBuild::predict() const {
  BuildPrediction prediction;
  prediction.disk_bytes = impl_->weight_bytes() + impl_->graph_text.size() + (uint64_t{1} << 16);
  for (const auto& [name, asset] : impl_->model.assets) prediction.disk_bytes += 2 * asset.bytes.size();
  const int threads = impl_->options.threads > 0 ? impl_->options.threads : available_cpus();
  prediction.memory_bytes = (uint64_t{64} << 20) + uint64_t(threads) * 4 * kChunk;
  prediction.seconds = double(prediction.disk_bytes) / kBytesPerSecond;
  return prediction;
}

void PreparedBuild::write(const std::filesystem::path& destination, const Verify& verify) {
  const BuildPrediction prediction = predict();
  const uint64_t free = available_disk_bytes(destination);
  if (prediction.disk_bytes > free) {
    fail(ErrorCode::resource, "\"{}\" needs {} bytes of disk, {} are free", destination.string(),
         prediction.disk_bytes, free);
  }
  plan::EngineWriter writer(destination);
  impl_->pack(writer);

  plan::Manifest manifest;
  manifest.producer = "lathe " LATHE_VERSION;
  manifest.opset = kGraphOpset;
  manifest.graph = impl_->graph_text;
  manifest.contract = impl_->model.contract;
  manifest.plan = impl_->built.plan;
  for (const auto& [name, asset] : impl_->model.assets) manifest.assets.push_back(writer.add_asset(name, asset.bytes));
  const std::string& tokenizer = manifest.contract.tokenizer_asset;
  if (!tokenizer.empty()) {  // its compiled form loads faster
    const auto compiled = text::Tokenizer::from_text(impl_->model.assets.at(tokenizer).bytes, tokenizer).serialize();
    manifest.assets.push_back(writer.add_asset("tokenizer.compiled", compiled));
  }
  writer.finish(manifest);
  if (verify) writer.set_receipt(verify(writer.temporary_path()));
  writer.commit();
}

}  // namespace lathe::compiler
