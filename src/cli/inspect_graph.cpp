#include "cli/inspect_graph.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/file.h"
#include "cli/graph_lengths.h"
#include "compiler/graph_build.h"
#include "frontend/graph_svg.h"
#include "frontend/onnx_import.h"
#include "ir/multiplications.h"
#include "runtime/graph_session.h"
#include "tensor/shape.h"

namespace lathe::cli {
namespace {

constexpr size_t kShown = 5;  // of the largest initialisers

std::string joined(const std::map<std::string, int64_t>& counts) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : counts) parts.push_back(fmt::format("{} {}", count, name));
  return fmt::format("{}", fmt::join(parts, ", "));
}

// "4.089 G".
std::string amount(int64_t count) {
  double number = double(count);
  std::string_view prefix;
  for (const std::string_view next : {"k", "M", "G", "T", "P"}) {
    if (number < 1000) break;
    number /= 1000;
    prefix = next;
  }
  return fmt::format("{:.4g}{}{}", number, prefix.empty() ? "" : " ", prefix);
}

// What tensors there are, those in attributes and in graphs inside nodes included.
struct Weights {
  struct Kind {
    int64_t elements = 0;
    uint64_t bytes = 0;
  };
  struct Item {
    std::string name, type;
    uint64_t bytes = 0;
  };
  std::map<std::string, Kind> kinds;  // by dtype
  std::vector<Item> items;            // initialisers
  int64_t elements = 0;
  uint64_t bytes = 0;
};

Weights weights_of(const io::OnnxModel& source) {
  Weights weights;
  io::OnnxModel model = source;  // structs only: tensors view the file
  io::each_tensor(model, [&](io::OnnxTensor& tensor) {
    const tensor::DType dtype = tensor.dtype();
    const int64_t elements = tensor::element_count(std::span<const int64_t>(tensor.dims));
    const uint64_t bytes = dtype == tensor::DType::string ? 0 : tensor::byte_size(dtype, elements);
    Weights::Kind& kind = weights.kinds[std::string(to_string(dtype))];
    kind.elements += elements;
    kind.bytes += bytes;
    weights.elements += elements;
    weights.bytes += bytes;
    const std::string type = fmt::format("{}{}", to_string(dtype), tensor::to_string(std::span(tensor.dims)));
    if (!tensor.name.empty()) weights.items.push_back({tensor.name, type, bytes});
  });
  std::stable_sort(weights.items.begin(), weights.items.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return weights;
}

void report_weights(const io::OnnxModel& model, Json& json, const Output& output) {
  const Weights weights = weights_of(model);
  std::vector<std::string> parts;
  for (const auto& [name, kind] : weights.kinds) {
    parts.push_back(fmt::format("{} {} ({:.1f} MB)", kind.elements, name, double(kind.bytes) / 1e6));
    json["parameters_by_dtype"][name] = {{"elements", kind.elements}, {"bytes", kind.bytes}};
  }
  output.print(fmt::format("parameters    {:.2f} M in {:.1f} MB: {}", double(weights.elements) / 1e6,
                           double(weights.bytes) / 1e6, fmt::join(parts, ", ")));
  json["parameters"] = weights.elements;
  json["tensor_bytes"] = weights.bytes;
  json["largest"] = Json::array();
  for (size_t i = 0; i < std::min(kShown, weights.items.size()); ++i) {
    const Weights::Item& item = weights.items[i];
    output.print(fmt::format("  {:>10.3f} MB  {:<28} {}", double(item.bytes) / 1e6, item.type, item.name));
    json["largest"].push_back({{"name", item.name}, {"type", item.type}, {"bytes", item.bytes}});
  }
}

void report_values(std::string_view title, const char* key, const ir::Graph& graph, std::span<const ir::Value> values,
                   Json& json, const Output& output) {
  json[key] = Json::array();
  for (const ir::Value value : values) {
    const std::string type = op::to_string(graph.type(value));
    output.print(fmt::format("{:<13} {} {}", title, graph.name(value), type));
    title = "";
    json[key].push_back({{"name", graph.name(value)}, {"type", type}});
  }
}

void report_work(const ir::Graph& graph, Json& json, const Output& output) {
  const ir::Multiplications work = ir::count_multiplications(graph);
  json["macs"] = {{"total", work.total}, {"unknown_nodes", work.unknown}, {"by_op", work.by_op}};
  if (work.total == 0 && work.unknown == 0) return;
  std::vector<std::string> parts;
  for (const auto& [op, count] : work.by_op) parts.push_back(fmt::format("{} {}", op, amount(count)));
  if (work.unknown > 0) parts.push_back(fmt::format("{} nodes whose lengths --shape must say", work.unknown));
  output.print(fmt::format("work          {} multiply-adds, {} floating point operations: {}", amount(work.total),
                           amount(2 * work.total), fmt::join(parts, ", ")));
}

// Tensors of the lengths of a call; nullopt where a length is open.
std::optional<runtime::GraphSession::Data> blank_inputs(const ir::Graph& graph) {
  runtime::GraphSession::Data inputs;
  for (const ir::Value input : graph.inputs()) {
    const op::TypeInfo& type = graph.type(input);
    if (type.form == op::Form::optional_tensor || type.form == op::Form::optional_sequence) continue;
    const auto dims = tensor::to_dims(type.shape);
    if (!type.is_plain() || !dims) return std::nullopt;
    inputs.emplace(graph.name(input), tensor::Tensor(type.dtype, *dims));
  }
  return inputs;
}

void report_kernels(const runtime::BoundGraph& bound, Json& json, const Output& output) {
  std::map<std::pair<std::string, std::string>, int64_t> uses;  // kernel, operator
  for (const runtime::BoundInstruction& i : bound.instructions) ++uses[{i.kernel, i.op}];
  json["kernels"] = Json::array();
  for (const auto& [use, count] : uses) {
    output.print(fmt::format("  {:>4} {:<24} {}", count, use.second, use.first));
    json["kernels"].push_back({{"kernel", use.first}, {"op", use.second}, {"instructions", count}});
  }
  json["slow"] = Json::array();
  std::set<std::string> said;
  for (const runtime::BoundInstruction& i : bound.instructions) {
    if (i.kernel != "reference") continue;
    const std::string why =
        i.refusals.empty() ? "there is no faster kernel" : fmt::format("{}", fmt::join(i.refusals, "; "));
    if (said.insert(i.op + why).second) {
      output.print(fmt::format("       slow: {} \"{}\" {}: {}", i.op, i.name, i.shape, why));
    }
    json["slow"].push_back({{"op", i.op}, {"name", i.name}, {"shape", i.shape}, {"reasons", i.refusals}});
  }
}

void report_compiled(ir::Graph graph, Json& json, const Output& output) {
  const auto inputs = blank_inputs(graph);
  if (!inputs) {
    output.print("compiled      depends on lengths that are open: say them with --shape");
    return;
  }
  const auto model = compiler::build_graph(std::move(graph));
  runtime::GraphSession session(model);
  const runtime::BoundGraph bound = session.bound(*inputs);
  output.print(fmt::format("compiled      {} instructions for {}, {} threads; arena {:.2f} MB, {:.2f} MB of it scratch",
                           model->plan.instructions.size(), model->plan.device, session.threads(),
                           double(bound.arena_bytes) / 1e6, double(bound.scratch_bytes) / 1e6));
  if (!bound.live_during.empty()) {
    output.print(
        fmt::format("              most values at {}: {:.2f} MB", bound.live_during, double(bound.live_bytes) / 1e6));
  }
  if (bound.not_bound > 0) {
    output.print(fmt::format("              {} instructions from {} on are bound when they run", bound.not_bound,
                             bound.stopped_at));
  }
  Json compiled = {{"instructions", model->plan.instructions.size()},
                   {"threads", session.threads()},
                   {"arena_bytes", bound.arena_bytes},
                   {"scratch_bytes", bound.scratch_bytes},
                   {"peak_bytes", bound.live_bytes},
                   {"peak_instruction", bound.live_during},
                   {"not_bound", bound.not_bound},
                   {"stopped_at", bound.stopped_at}};
  report_kernels(bound, compiled, output);
  json["compiled"] = std::move(compiled);
}

void report_file(const io::OnnxFile& file, Json& json, const Output& output) {
  const io::OnnxModel& model = file.model();
  std::map<std::string, int64_t> operators;
  for (const io::OnnxNode& node : model.graph.nodes) ++operators[node.op_type];
  std::vector<std::string> opsets, functions;
  for (const io::OnnxOpset& opset : model.opsets) {
    opsets.push_back(fmt::format("{}{}{}", opset.domain, opset.domain.empty() ? "" : " ", opset.version));
  }
  for (const io::OnnxFunction& function : model.functions) {
    functions.push_back(fmt::format("{}.{} ({} nodes)", function.domain, function.name, function.nodes.size()));
  }
  output.print(fmt::format("{}\nkind          ONNX, IR {}, opset {}, by {} {}\nnodes         {}: {}\ninitialisers  {}",
                           file.path().string(), model.ir_version, fmt::join(opsets, ", "), model.producer_name,
                           model.producer_version, model.graph.nodes.size(), joined(operators),
                           model.graph.initializers.size()));
  if (!functions.empty()) output.print(fmt::format("functions     {}", fmt::join(functions, ", ")));
  json = {{"path", file.path().string()},
          {"kind", "onnx"},
          {"ir_version", model.ir_version},
          {"opsets", opsets},
          {"functions", functions},
          {"nodes", model.graph.nodes.size()},
          {"operators", Json::object()},
          {"inputs", model.graph.inputs.size()},
          {"outputs", model.graph.outputs.size()},
          {"initializers", model.graph.initializers.size()}};
  for (const auto& [op, count] : operators) json["operators"][op] = count;
}

// The graph, or why there is none. Files that only other programs run are described, too.
std::optional<ir::Graph> find_graph(const std::shared_ptr<const io::OnnxFile>& file, bool needed, Json& json,
                                    const Output& output) {
  try {
    return frontend::import_onnx(file);
  } catch (const Error& error) {
    const bool expected = error.code() == ErrorCode::unsupported || error.code() == ErrorCode::invalid_input;
    if (needed || !expected) throw;
    output.print(fmt::format("graph         cannot be imported: {}", error.what()));
    json["import_error"] = error.what();
    return std::nullopt;
  }
}

void write_pictures(const ir::Graph& graph, const GraphInspectFlags& flags, const std::string& title,
                    const Output& output) {
  if (!flags.svg.empty()) {
    write_text_file(flags.svg, frontend::to_svg(graph));
    output.note(fmt::format("wrote {}", flags.svg));
  }
  if (!flags.html.empty()) {
    write_text_file(flags.html, frontend::to_html(graph, title));
    output.note(fmt::format("wrote {}", flags.html));
  }
}

}  // namespace

void add_graph_inspect_flags(CLI::App& command, GraphInspectFlags& flags) {
  command.add_option("--shape", flags.shapes,
                     "of a graph: NAME=1x3x224x224 or SYMBOL=8, lengths to count and to compile with");
  command.add_option("--svg", flags.svg, "of an .onnx file: write a picture of the graph here");
  command.add_option("--html", flags.html, "of an .onnx file: write a page with the picture here");
}

Json inspect_graph(const std::shared_ptr<const io::OnnxFile>& file, const GraphInspectFlags& flags,
                   const Output& output) {
  const opt::Lengths lengths = read_lengths("--shape", flags.shapes);
  Json json;
  report_file(*file, json, output);
  auto graph = find_graph(file, flags.used(), json, output);
  if (!graph) {
    report_weights(file->model(), json, output);
    return json;
  }
  opt::fix_lengths(*graph, lengths);
  write_pictures(*graph, flags, file->path().filename().string(), output);
  report_values("inputs", "input_types", *graph, graph->inputs(), json, output);
  report_values("outputs", "output_types", *graph, graph->outputs(), json, output);
  report_weights(file->model(), json, output);
  report_work(*graph, json, output);
  report_compiled(std::move(*graph), json, output);
  return json;
}

std::vector<std::filesystem::path> onnx_files(const io::OnnxFile& file) {
  std::set<std::filesystem::path> data;
  for (const io::OnnxTensor& tensor : file.model().graph.initializers) {
    if (const auto* external = std::get_if<io::OnnxExternal>(&tensor.values)) {
      file.tensor_source(tensor);  // throws for a place outside the model's folder
      data.insert(file.path().parent_path() / external->location);
    }
  }
  std::vector<std::filesystem::path> files = {file.path()};
  files.insert(files.end(), data.begin(), data.end());
  return files;
}

}  // namespace lathe::cli
