#include "cli/inspect_graph_engine.h"

#include <algorithm>
#include <set>

#include "backend/graph_load.h"
#include "base/fields.h"
#include "cli/graph_lengths.h"
#include "op/bindings.h"
#include "plan/graph_body.h"
#include "runtime/graph_session.h"
#include "verify/verify.h"

namespace lathe::cli {
namespace {

using plan::EngineGraph;
using plan::InputProfile;
using Data = runtime::GraphSession::Data;

std::string dims_text(const std::vector<int64_t>& dims) {
  return tensor::to_string(std::span<const int64_t>(dims));
}

const InputProfile* find_profile(const EngineGraph& graph, const std::string& input) {
  const auto it =
      std::find_if(graph.profile.begin(), graph.profile.end(), [&](const auto& p) { return p.name == input; });
  return it == graph.profile.end() ? nullptr : &*it;
}

// Tensors of the lengths of a call: given ones, else the largest of the profile; nullopt where one is open.
std::optional<Data> blank_inputs(const EngineGraph& graph, const opt::Lengths& lengths) {
  const plan::GraphPlan& plan = graph.model->plan;
  op::Bindings symbols;
  for (const auto& [name, dims] : lengths) {
    if (dims.size() == 1) symbols.emplace(name, dims[0]);
  }
  Data inputs;
  for (const int64_t index : plan.inputs) {
    const plan::GraphValue& value = plan.values[size_t(index)];
    if (op::is_optional(value.type)) continue;
    if (!value.type.is_plain() || value.type.dtype == tensor::DType::string) return std::nullopt;
    tensor::Shape shape = value.type.shape;
    for (tensor::Dim& dim : shape) dim = dim.bind(symbols);
    auto dims = tensor::to_dims(shape);
    const InputProfile* profile = find_profile(graph, value.name);
    if (!dims && profile) dims = profile->max;
    if (const auto given = lengths.find(value.name); given != lengths.end()) dims = given->second;
    if (!dims) return std::nullopt;
    inputs.emplace(value.name, tensor::Tensor(value.type.dtype, *dims));
  }
  return inputs;
}

Json report_values(const EngineGraph& graph, const Output& output) {
  Json json = {{"inputs", Json::array()}, {"outputs", Json::array()}};
  const plan::GraphPlan& plan = graph.model->plan;
  for (const int64_t index : plan.inputs) {
    const plan::GraphValue& value = plan.values[size_t(index)];
    Json entry = {{"name", value.name}, {"type", op::to_string(value.type)}};
    std::string range;
    if (const InputProfile* profile = find_profile(graph, value.name)) {
      entry.update({{"min", profile->min}, {"opt", profile->opt}, {"max", profile->max}});
      range = fmt::format(", from {} to {}, mostly {}", dims_text(profile->min), dims_text(profile->max),
                          dims_text(profile->opt));
    }
    output.print(fmt::format("  input       {} {}{}", value.name, op::to_string(value.type), range));
    json["inputs"].push_back(std::move(entry));
  }
  for (const plan::GraphOutput& out : plan.outputs) {
    const std::string type = op::to_string(plan::type_of(plan, out.operand));
    output.print(fmt::format("  output      {} {}", out.name, type));
    json["outputs"].push_back({{"name", out.name}, {"type", type}});
  }
  return json;
}

Json report_constants(const EngineGraph& graph, const Output& output) {
  std::map<std::string, std::pair<int64_t, int64_t>> layouts;  // number and bytes
  plan::each_constant(*graph.model, [&](const plan::Constant& constant) {
    auto& [number, bytes] = layouts[constant.layout];
    ++number;
    bytes += constant.bytes;
  });
  Json json = Json::array();
  for (const auto& [layout, sums] : layouts) {
    output.print(fmt::format("  constants   {} {}, {:.1f} MB", sums.first, layout, double(sums.second) / 1e6));
    json.push_back({{"layout", layout}, {"number", sums.first}, {"bytes", sums.second}});
  }
  return json;
}

Json report_bound(const plan::EngineFile& engine, const EngineGraph& graph, const opt::Lengths& lengths,
                  const Output& output) {
  const auto inputs = blank_inputs(graph, lengths);
  if (!inputs) {
    output.print("  a call      depends on lengths that are open: say them with --shape");
    return nullptr;
  }
  runtime::GraphSession session(backend::load_graph(engine, graph));
  const runtime::BoundGraph bound = session.bound(*inputs);
  std::map<std::pair<std::string, std::string>, int64_t> uses;
  for (const runtime::BoundInstruction& i : bound.instructions) ++uses[{i.kernel, i.op}];
  output.print(fmt::format(
      "  a call      {:.2f} MB of working memory on {} threads{}", double(bound.arena_bytes) / 1e6, session.threads(),
      bound.not_bound > 0
          ? fmt::format(", and what {} instructions take that only the run can measure", bound.not_bound)
          : ""));
  Json kernels = Json::array();
  for (const auto& [use, count] : uses) {
    output.print(fmt::format("  {:>11} {:<24} {}", count, use.second, use.first));
    kernels.push_back({{"kernel", use.first}, {"op", use.second}, {"instructions", count}});
  }
  return {{"arena_bytes", bound.arena_bytes}, {"not_bound", bound.not_bound}, {"kernels", std::move(kernels)}};
}

}  // namespace

Json inspect_graph_engine(const plan::EngineFile& engine, const GraphEngineInspectFlags& flags,
                          const GraphInspectFlags& lengths, const Output& output) {
  if (!lengths.svg.empty() || !lengths.html.empty()) fail(ErrorCode::usage, "--svg and --html are for .onnx files");
  const plan::Manifest& manifest = engine.manifest();
  const opt::Lengths given = read_lengths("--shape", lengths.shapes);
  output.print(fmt::format(
      "{}\nkind          engine of {} by {}, hash {}\nweights       {:.1f} MB, {} assets", engine.path().string(),
      manifest.graphs.size() == 1 ? "one graph" : fmt::format("{} graphs", manifest.graphs.size()), manifest.producer,
      engine.hash(), double(manifest.weight_bytes) / 1e6, manifest.assets.size()));
  Json json = {{"path", engine.path().string()},        {"kind", "engine"},
               {"producer", manifest.producer},         {"hash", engine.hash()},
               {"weight_bytes", manifest.weight_bytes}, {"graphs", Json::array()}};
  for (const EngineGraph& graph : manifest.graphs) {
    output.print(fmt::format("graph         {}: {} instructions for {}, {}{}", graph.name,
                             graph.model->plan.instructions.size(), graph.model->plan.device,
                             to_string(graph.precision), graph.allow_nonfinite ? ", outputs may be infinite" : ""));
    for (const std::string& line : plan::describe(graph.islands)) {
      output.print(fmt::format("  in fp32     {}", line));
    }
    Json entry = {{"name", graph.name},
                  {"instructions", graph.model->plan.instructions.size()},
                  {"allow_nonfinite", graph.allow_nonfinite},
                  {"precision", std::string(to_string(graph.precision))},
                  {"islands", to_json(graph.islands)}};
    entry.update(report_values(graph, output));
    entry["constants"] = report_constants(graph, output);
    entry["bound"] = report_bound(engine, graph, given, output);
    if (flags.plan) output.print((entry["plan"] = plan::print(*graph.model)).get_ref<const std::string&>());
    if (flags.graph) output.print((entry["graph"] = graph.text).get_ref<const std::string&>());
    json["graphs"].push_back(std::move(entry));
  }
  if (!manifest.pipeline.empty()) {
    output.print(fmt::format("pipeline      {}", manifest.pipeline));
    json["pipeline"] = parse_json(manifest.pipeline, "pipeline");
  }
  if (engine.receipt()) json["receipt"] = to_json(*engine.receipt());
  output.print(engine.receipt() ? verify::describe(*engine.receipt()) : "receipt       none: not verified");
  return json;
}

}  // namespace lathe::cli
