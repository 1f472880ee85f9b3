#include "compiler/build.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>

#include "backend/kernel.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/team.h"
#include "compiler/plan_builder.h"
#include "compiler/rounding.h"
#include "opt/pipeline.h"
#include "opt/to_packed.h"
#include "plan/engine_header.h"
#include "plan/manifest.h"
#include "text/tokenizer.h"

namespace lathe::compiler {
namespace {

using tensor::SourcePtr;

// The graph text is of the exported form at this opset, with lathe.* operators.
constexpr int64_t kGraphOpset = 27;
// Bytes packed at a time by one thread.
constexpr size_t kChunk = size_t{4} << 20;
// Conservative rates for predictions: packing by two threads, and what the file system takes.
constexpr double kBytesPerSecond = 0.8e9;
// Of the disk: a receipt, and the digits of one hash.
constexpr uint64_t kReceipt = uint64_t{64} << 10;
constexpr uint64_t kHashDigits = 32;
// The program, graphs and tokenizer of a model.
constexpr uint64_t kBaseMemory = uint64_t{64} << 20;
// What verification takes at a time (verify/subject.h): tokens traced, and positions that its sequences fill of
// the cache, of which pages become resident as they are used.
constexpr int64_t kTracedTokens = 64;
constexpr int64_t kVerifyPositions = 1024;

// A session's cache, arenas and scratch, as runtime::Session books them.
uint64_t session_memory(const plan::Plan& plan, int64_t positions, int threads) {
  const backend::Capacity capacity{.tokens = std::min<int64_t>(512, positions),
                                   .outputs = kTracedTokens,
                                   .sequences = 16,
                                   .blocks_per_sequence = ceil_div(positions, plan.kv_block),
                                   .threads = threads};
  const backend::Device& device = backend::get_device(plan.device);
  const backend::Settings settings;
  if (!device.host_memory()) return 0;  // its sessions take little of the host
  uint64_t bytes = uint64_t(plan.arena_tokens) * uint64_t(capacity.tokens) +
                   uint64_t(plan.arena_outputs) * uint64_t(capacity.outputs) +
                   uint64_t(plan.arena_sequences) * uint64_t(capacity.sequences + 1);
  size_t scratch = 0;
  for (const plan::Instruction& instruction : plan.instructions) {
    const backend::Kernel& kernel = backend::get_kernel(device, instruction.kernel);
    if (kernel.scratch_size) scratch = std::max(scratch, kernel.scratch_size(plan, instruction, settings, capacity));
  }
  for (const plan::State& state : plan.states) {  // in f32, as the session that others are compared with
    bytes += device.kv_block_size({tensor::DType::f32, state.kv_heads, state.head_dim}) *
             uint64_t(capacity.blocks_per_sequence);
  }
  return bytes + scratch;
}

// Three sessions (as planned, in fp32, deterministic), a trace of all tensors, logits of several runs, and the
// reference executor, which widens one weight at a time to f32.
uint64_t verify_memory(const plan::Plan& plan, const contract::Contract& contract, int threads) {
  const int64_t positions = std::min(contract.context_length, kVerifyPositions) + 6 * plan.kv_block;
  uint64_t trace = 0;
  for (const plan::Buffer& buffer : plan.buffers) trace += uint64_t(plan::row_bytes(buffer)) * kTracedTokens;
  uint64_t largest = 0;
  for (const plan::Constant& constant : plan.constants) {
    largest = std::max(largest, uint64_t(tensor::element_count(std::span<const int64_t>(constant.dims))));
  }
  const uint64_t logits = uint64_t(contract.vocab_size) * kTracedTokens * sizeof(float);
  return 3 * session_memory(plan, positions, threads) + 2 * trace + 6 * logits + largest * sizeof(float);
}

}  // namespace

struct PreparedBuild::Impl {
  BuildOptions options;
  const ir::Model& model;
  std::string graph_text;
  std::string tokenizer;  // in its compiled form, which loads faster; may be larger than its text
  BuiltPlan built;
  std::vector<opt::PassReport> reports;

  Impl(const ir::Model& m, const BuildOptions& o) : options(o), model(m) {}
  void prepare();
  void add_graph_constants(const ir::Graph& graph);
  void pack(plan::EngineWriter& writer);
  void pack_constant(plan::EngineWriter& writer, size_t index, Team& team, const std::function<void(size_t)>& done);
  uint64_t weight_bytes() const;
  plan::Manifest manifest() const;
};

// Block formats that no kernel reads are stored as floats, in the graph as in the plan: the engine's graph is about the
// constants that the engine has.
std::set<std::string> widen_unpacked(ir::Graph& graph, const backend::Device& device, const LogSink& log) {
  std::set<std::string> names;
  std::map<tensor::Encoding, int64_t> counts;
  for (const ir::Value value : graph.constants()) {
    const SourcePtr& source = graph.source(value);
    const tensor::Encoding encoding = source->encoding();
    if (encoding == tensor::Encoding::plain || backend::find_layout(device, source->dtype(), encoding)) continue;
    ++counts[encoding];
    // The graph goes on with floats of 32 bits; the plan stores what these were made of.
    tensor::SourcePtr widened = tensor::converted_source(source, device.widened);
    graph.set_source(value, tensor::converted_source(std::move(widened), source->dtype()));
    names.insert(graph.source_name(value));
  }
  for (const auto& [encoding, count] : counts) {
    log(LogLevel::info, fmt::format("{} weights in {}, which no kernel of device {} reads: widened to {}", count,
                                    tensor::to_string(encoding), device.name, tensor::to_string(device.widened)));
  }
  return names;
}

void PreparedBuild::Impl::prepare() {
  ir::Graph graph = model.graphs.at("main");
  reports = opt::optimise(graph, options.passes);
  const backend::Device& device = backend::get_device(options.device);
  const std::set<std::string> widened = widen_unpacked(graph, device, options.log);
  graph_text = ir::print(graph);
  const Rounding rounding = choose_rounding(model.contract, options.precision, options.kv, device);
  opt::PackOptions pack_options;
  pack_options.compute = rounding.compute;
  pack_options.kv = *tensor::find_dtype(rounding.kv);
  pack_options.kv_block = device.kv_block;
  ir::Graph packed = opt::to_packed(graph, pack_options);
  opt::PassOptions packed_passes = options.passes;
  if (packed_passes.checked) packed_passes.check_inputs = opt::packed_check_inputs(packed);
  if (packed_passes.dump) {
    packed_passes.dump = [dump = options.passes.dump](std::string_view name, const std::string& text) {
      dump(fmt::format("packed_{}", name), text);
    };
  }
  for (opt::PassReport& report : opt::optimise(packed, packed_passes)) {
    report.name = "packed " + report.name;
    reports.push_back(std::move(report));
  }
  built = build_plan(packed, {rounding.compute, rounding.kv, device.kv_block, options.device, widened}, options.log);
  add_graph_constants(graph);
  const std::string& asset = model.contract.tokenizer_asset;
  if (!asset.empty()) tokenizer = text::Tokenizer::from_text(model.assets.at(asset).bytes, asset).serialize();
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

// All but assets and what the writer fills in.
plan::Manifest PreparedBuild::Impl::manifest() const {
  plan::Manifest manifest;
  manifest.producer = "lathe " LATHE_VERSION;
  manifest.opset = kGraphOpset;
  manifest.arch = options.arch;
  manifest.graph = graph_text;
  manifest.contract = model.contract;
  manifest.plan = built.plan;
  return manifest;
}

// Of the section, with the gaps between constants.
uint64_t PreparedBuild::Impl::weight_bytes() const {
  int64_t end = 0;
  for (const plan::Constant& constant : built.plan.constants) {
    end = plan::weight_place(end, constant.bytes) + constant.bytes;
  }
  return uint64_t(end);
}

void PreparedBuild::Impl::pack_constant(plan::EngineWriter& writer, size_t index, Team& team,
                                        const std::function<void(size_t)>& done) {
  const plan::Constant& constant = built.plan.constants[index];
  const tensor::Source& source = *built.sources[index];
  const int64_t rows = source.rows();
  const backend::PackedLayout* layout = backend::find_layout(constant.layout);  // none: plain
  const int64_t unit_rows = layout ? layout->unit_rows() : 1;
  const size_t unit_bytes = layout ? layout->unit_size(source.row_elements()) : source.row_size();
  const int64_t units = ceil_div(rows, unit_rows);
  const int64_t step = std::max<int64_t>(1, int64_t(kChunk / std::max<size_t>(unit_bytes, 1)));
  team.for_each(ceil_div(units, step), [&](int64_t chunk) {
    const int64_t first = chunk * step;
    const int64_t count = std::min(step, units - first);
    std::vector<std::byte> buffer(size_t(count) * unit_bytes);
    if (layout)
      layout->pack(source, first, count, buffer);
    else
      source.read_rows(first, count, buffer);
    source.drop_rows(first * unit_rows, std::min(count * unit_rows, rows - first * unit_rows));
    writer.write(constant.offset + first * int64_t(unit_bytes), buffer);
    done(buffer.size());
  });
}

void PreparedBuild::Impl::pack(plan::EngineWriter& writer) {
  Team team(options.threads > 0 ? options.threads : available_cpus());
  uint64_t total = 0;
  for (const plan::Constant& constant : built.plan.constants) total += uint64_t(constant.bytes);
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

const plan::Plan& PreparedBuild::plan() const {
  return impl_->built.plan;
}
const std::vector<opt::PassReport>& PreparedBuild::reports() const {
  return impl_->reports;
}

BuildPrediction PreparedBuild::predict() const {
  const Impl& impl = *impl_;
  BuildPrediction prediction;
  const uint64_t weights = impl.weight_bytes();
  const uint64_t hashes = ceil_div(weights, plan::kHashChunk) * kHashDigits;
  prediction.disk_bytes =
      plan::kHeaderBytes + weights + plan::write_manifest(impl.manifest()).size() + hashes + kReceipt;
  prediction.disk_bytes += impl.tokenizer.size() + plan::kWeightAlignment;
  for (const auto& [name, asset] : impl.model.assets)
    prediction.disk_bytes += asset.bytes.size() + plan::kWeightAlignment;
  const int threads = impl.options.threads > 0 ? impl.options.threads : available_cpus();
  prediction.pack_memory_bytes = kBaseMemory + uint64_t(threads) * 4 * kChunk;
  prediction.verify_memory_bytes = kBaseMemory + verify_memory(impl.built.plan, impl.model.contract, threads);
  prediction.memory_bytes = std::max(prediction.pack_memory_bytes, prediction.verify_memory_bytes);
  prediction.seconds = double(prediction.disk_bytes) / kBytesPerSecond;
  return prediction;
}

void PreparedBuild::write(const std::filesystem::path& destination, const Verify& verify) {
  const BuildPrediction prediction = predict();
  const uint64_t memory = verify ? prediction.memory_bytes : prediction.pack_memory_bytes;
  const uint64_t free_disk = available_disk_bytes(destination);
  const uint64_t free_memory = available_memory_bytes();
  if (prediction.disk_bytes > free_disk || memory > free_memory) {
    fail(ErrorCode::resource,
         "\"{}\" needs {} bytes of disk and {} bytes of memory{}, there are {} bytes of disk and {} bytes of memory",
         destination.string(), prediction.disk_bytes, memory, verify ? " with its verification" : "", free_disk,
         free_memory);
  }
  plan::EngineWriter writer(destination);
  impl_->pack(writer);

  plan::Manifest manifest = impl_->manifest();
  for (const auto& [name, asset] : impl_->model.assets) manifest.assets.push_back(writer.add_asset(name, asset.bytes));
  if (!impl_->tokenizer.empty()) manifest.assets.push_back(writer.add_asset("tokenizer.compiled", impl_->tokenizer));
  writer.finish(manifest);
  if (verify) writer.set_receipt(verify(writer.temporary_path()));
  writer.commit();
}

}  // namespace lathe::compiler
