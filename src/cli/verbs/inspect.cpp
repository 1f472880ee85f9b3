// lathe inspect: what is this file or folder?
#include "backend/device.h"
#include "backend/kernel_uses.h"
#include "base/error.h"
#include "base/fields.h"
#include "base/file.h"
#include "base/hash.h"
#include "cli/inspect_graph.h"
#include "cli/inspect_graph_engine.h"
#include "cli/inspect_pictures.h"
#include "cli/known_files.h"
#include "cli/model.h"
#include "cli/verb.h"
#include "compiler/onnx_decoder.h"
#include "io/onnx.h"
#include "runtime/session_memory.h"
#include "verify/verify.h"

namespace lathe::cli {
namespace {

struct Options {
  std::string path;
  bool hash = false;
  bool plan = false;
  bool graph = false;
  bool tensors = false;
  GraphInspectFlags onnx;
  PictureInspectFlags pictures;
};

// sha256 of each file.
void report_hashes(const std::vector<std::filesystem::path>& files, Json& json, const Output& output) {
  for (const std::filesystem::path& file : files) {
    const std::string hash = sha256_file_hex(file);
    const std::string_view known = find_known_file(hash);
    output.print(fmt::format("sha256        {}  {}{}", hash, file.filename().string(),
                             known.empty() ? "" : fmt::format(": genuine, {}", known)));
    json["sha256"][file.filename().string()] = hash;
    if (!known.empty()) json["genuine"][file.filename().string()] = known;
  }
}

// A flag asks for something that only files of `kind` have.
void require_kind(bool asked, std::string_view flag, std::string_view kind, const Options& options) {
  if (asked) fail(ErrorCode::usage, "{} is for {}; \"{}\" is none", flag, kind, options.path);
}

Json dims_json(const tensor::Dims& dims) {
  return Json(dims);
}

Json kinds_json(const std::map<std::string, int64_t>& kinds) {
  Json json = Json::object();
  for (const auto& [kind, count] : kinds) json[kind] = count;
  return json;
}

// "210 q4_1, 61 f32"
std::string kinds_text(const std::map<std::string, int64_t>& kinds) {
  std::vector<std::string> parts;
  for (const auto& [kind, count] : kinds) parts.push_back(fmt::format("{} {}", count, kind));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string contract_text(const contract::Contract& c) {
  return fmt::format(
      "architecture  {}\nname          {}\nlicence       {}\nlayers        {} with {} key-value heads of "
      "{}\nvocabulary    {}\n"
      "context       {}\nprecision     {}\nend tokens    {}\nchat template {}",
      c.architecture, c.name, c.licence.empty() ? "not stated" : c.licence, c.num_layers, c.kv_heads, c.head_dim,
      c.vocab_size, c.context_length, to_string(c.precision), fmt::join(c.eos_ids, ", "),
      c.chat_template.empty() ? "none" : fmt::format("{} characters", c.chat_template.size()));
}

// Kernels kind by kind, with the reasons of those that would be faster.
void report_kernels(const plan::Plan& plan, Json& json, const Output& output) {
  json["device"] = plan.device;
  std::string isas = "which this program does not know";
  if (const backend::Device* device = backend::find_device(plan.device)) {
    isas = device->description;
    for (const backend::Capability& isa : device->capabilities()) {
      isas += fmt::format("; {}: {}", isa.isa, isa.detail);
      json["isa"][isa.isa] = {{"found", isa.found}, {"detail", isa.detail}};
    }
  }
  output.print(fmt::format("kernels       for {}, {}", plan.device, isas));
  const std::vector<backend::KernelUse> uses = backend::kernel_uses(plan);
  for (const backend::KernelUse& use : uses) {
    const std::string weights = use.weights.empty() ? ""
                                                    : fmt::format(" on {} ({:.1f} MB)", fmt::join(use.weights, ", "),
                                                                  double(use.weight_bytes) / 1e6);
    const std::string rounding = use.compute.empty() ? "" : fmt::format(", activations in {}", use.compute);
    output.print(fmt::format("  {:>4} {}{}: {}{}", use.instructions, use.op, weights, use.kernel, rounding));
    if (use.kernel == "reference" && use.refusals.empty()) output.print("         there is no faster kernel");
    for (const backend::NotTaken& other : use.refusals) {
      output.print(fmt::format("         not {}: {}", other.kernel, other.reason));
    }
  }
  json["kernels"] = to_json(uses);
}

// "BPE", "Unigram": what tokenizer.json says; empty without one.
std::string tokenizer_kind(std::string_view tokenizer_json) {
  if (tokenizer_json.empty()) return "";
  const Json json = parse_json(tokenizer_json, "tokenizer.json");
  const Json* model = find_member(json, "model");
  return model && model->is_object() ? find_string(*model, "type").value_or("BPE") : "";
}

std::string_view kind_text(const frontend::Checkpoint& checkpoint) {
  if (checkpoint.is_gguf()) return "GGUF";
  return checkpoint.is_onnx() ? "ONNX folder of a language model" : "Hugging Face folder";
}

struct Weights {
  int64_t parameters = 0;
  uint64_t bytes = 0;
  std::map<std::string, int64_t> kinds;  // "f32" -> count
};

void count(Weights& weights, const tensor::Source& source) {
  const bool plain = source.encoding() == tensor::Encoding::plain;
  weights.parameters += tensor::element_count(std::span<const int64_t>(source.dims()));
  weights.bytes += source.byte_size();
  ++weights.kinds[std::string(plain ? tensor::to_string(source.dtype()) : tensor::to_string(source.encoding()))];
}

// Those of the checkpoint's tensors, or of the graph where there is only one.
Weights weights_of(const frontend::Checkpoint& checkpoint, const ir::Graph& graph) {
  Weights weights;
  for (const std::string& name : checkpoint.tensor_names()) count(weights, *checkpoint.find_tensor(name));
  if (!checkpoint.is_onnx()) return weights;
  for (const ir::Value constant : graph.constants()) {
    if (!ir::prints_inline(graph, constant)) count(weights, *graph.source(constant));
  }
  return weights;
}

void inspect_checkpoint(const Options& options, Output& output) {
  require_kind(options.plan, "--plan", "engines", options);
  require_kind(options.graph, "--graph", "engines", options);
  const auto checkpoint = frontend::Checkpoint::open(options.path);
  note_tokenizer(checkpoint, output);
  const ir::Model model = compiler::read_model(checkpoint, output.log());
  const Weights weights = weights_of(checkpoint, model.graphs.at("main"));
  const compiler::PreparedBuild build(model, {});
  const auto prediction = build.predict();
  const auto asset = checkpoint.assets().find("tokenizer.json");
  const std::string tokenizer = asset == checkpoint.assets().end() ? "" : tokenizer_kind(asset->second);
  output.print(
      fmt::format("{}\nkind          {}\n{}\ntokenizer     {}\nparameters    {:.1f} M in {:.1f} MB: {}\n"
                  "engine        would take {:.1f} MB of disk, {:.0f} MB of memory, {:.1f} s to build",
                  options.path, kind_text(checkpoint), contract_text(model.contract),
                  tokenizer.empty() ? "none" : tokenizer, double(weights.parameters) / 1e6,
                  double(weights.bytes) / 1e6, kinds_text(weights.kinds), double(prediction.disk_bytes) / 1e6,
                  double(prediction.memory_bytes) / 1e6, prediction.seconds));
  Json json = {{"path", options.path},
               {"kind", checkpoint.is_gguf() ? "gguf" : checkpoint.is_onnx() ? "onnx" : "huggingface"},
               {"contract", to_json(model.contract)},
               {"licence", model.contract.licence},
               {"tokenizer", tokenizer},
               {"parameters", weights.parameters},
               {"tensor_bytes", weights.bytes},
               {"tensor_kinds", kinds_json(weights.kinds)},
               {"build",
                {{"disk_bytes", prediction.disk_bytes},
                 {"memory_bytes", prediction.memory_bytes},
                 {"seconds", prediction.seconds}}}};
  report_kernels(build.plan(), json, output);
  if (options.hash) report_hashes(checkpoint.files(), json, output);
  if (options.tensors) {
    for (const std::string& name : checkpoint.tensor_names()) {
      const auto source = checkpoint.find_tensor(name);
      const bool plain = source->encoding() == tensor::Encoding::plain;
      const auto kind = plain ? tensor::to_string(source->dtype()) : tensor::to_string(source->encoding());
      output.print(
          fmt::format("  {:<60} {:<6} {}", name, kind, tensor::to_string(std::span<const int64_t>(source->dims()))));
      json["tensors"][name] = {{"kind", std::string(kind)}, {"dims", dims_json(source->dims())}};
    }
  }
  output.result(json);
}

// What a session would take of a GPU's memory; CPUs map the weights, and lend what is free.
void report_memory(const plan::EngineFile& engine, Json& json, const Output& output) {
  const backend::Device* device = backend::find_device(engine.manifest().plan.device);
  if (!device || device->host_memory()) return;
  try {
    const runtime::SessionMemory memory = runtime::session_memory(engine, {});
    json["session_memory"] = to_json(memory);
    output.print(fmt::format("memory        {}", runtime::describe(memory)));
  } catch (const Error& error) {  // the engine does not fit this program's kernels: the rest is shown all the same
    output.print(fmt::format("memory        not known: {}", error.what()));
  }
}

void inspect_engine(const Options& options, Output& output) {
  require_kind(options.tensors, "--tensors", "checkpoints", options);
  const auto engine = plan::EngineFile::open(options.path);
  if (!engine->manifest().graphs.empty()) {
    Json json = inspect_graph_engine(*engine, {options.plan, options.graph}, options.onnx, output);
    if (const auto pictures = find_picture_model(engine)) report_pictures(*pictures, options.pictures, json, output);
    if (options.hash) report_hashes({engine->path()}, json, output);
    return output.result(json);
  }
  require_kind(options.onnx.used(), "--shape, --svg, --html", "graphs", options);
  const plan::Manifest& manifest = engine->manifest();
  output.print(fmt::format(
      "{}\nkind          engine by {}, hash {}\n{}\nplan          {} instructions, compute {}, "
      "cache {}, {:.1f} MB of weights",
      options.path, manifest.producer, engine->hash(), contract_text(manifest.contract),
      manifest.plan.instructions.size(), manifest.plan.compute, manifest.plan.kv, double(manifest.weight_bytes) / 1e6));
  Json json = {{"path", options.path},
               {"kind", "engine"},
               {"producer", manifest.producer},
               {"hash", engine->hash()},
               {"contract", to_json(manifest.contract)},
               {"licence", manifest.contract.licence},
               {"instructions", manifest.plan.instructions.size()},
               {"compute", manifest.plan.compute},
               {"kv", manifest.plan.kv},
               {"weight_bytes", manifest.weight_bytes}};
  report_kernels(manifest.plan, json, output);
  report_memory(*engine, json, output);
  if (!manifest.arch.empty()) {
    json["arch"] = manifest.arch;
    output.print(fmt::format("built for     {}", manifest.arch));
  }
  if (engine->receipt()) json["receipt"] = to_json(*engine->receipt());
  output.print(engine->receipt() ? verify::describe(*engine->receipt()) : "receipt       none: not verified");
  if (options.plan) {
    json["plan"] = plan::print(manifest.plan);
    output.print(json["plan"].get_ref<const std::string&>());
  }
  if (options.graph) {
    json["graph"] = manifest.graph;
    output.print(manifest.graph);
  }
  if (options.hash) report_hashes({engine->path()}, json, output);
  output.result(json);
}

void inspect_onnx(const Options& options, Output& output) {
  require_kind(options.tensors, "--tensors", "checkpoints", options);
  require_kind(options.plan, "--plan", "engines", options);
  require_kind(options.graph, "--graph", "engines", options);
  const auto file = io::OnnxFile::open(options.path);
  Json json = inspect_graph(file, options.onnx, output);
  if (options.hash) report_hashes(onnx_files(*file), json, output);
  output.result(json);
}

// Protobuf has no magic. Every writer of ONNX begins with the IR version (field 1) and goes on with another field of
// the model message, whose keys are these bytes.
bool is_onnx_file(const std::filesystem::path& path) {
  const std::string head = read_file_head(path, 3);
  constexpr std::string_view kKeys = "\x12\x1a\x22\x28\x32\x3a\x42\x72";
  return head.size() == 3 && head[0] == '\x08' && head[1] > 0 && head[1] < 64 &&
         kKeys.find(head[2]) != std::string_view::npos;
}

void inspect_pipeline(const Options& options, Output& output) {
  require_kind(options.tensors, "--tensors", "checkpoints of language models", options);
  require_kind(options.plan, "--plan", "engines", options);
  require_kind(options.graph, "--graph", "engines", options);
  Json json = inspect_pictures(options.path, options.pictures, output);
  std::vector<std::filesystem::path> files;
  for (const Json& file : json["files"]) files.emplace_back(file.get<std::string>());
  if (options.hash) report_hashes(files, json, output);
  output.result(json);
}

Exit run(const Options& options, Output& output) {
  const std::filesystem::path path = options.path;
  const FileKind kind = file_kind(path);
  if (kind == FileKind::nothing) fail(ErrorCode::not_found, "\"{}\" does not exist", options.path);
  const bool onnx = kind == FileKind::file && (is_onnx_file(path) || path.extension() == ".onnx");
  const bool graphs = onnx || plan::is_engine_file(path);
  require_kind(options.onnx.used() && !graphs, "--shape, --svg, --html", ".onnx files", options);
  const bool pipeline = frontend::PictureCheckpoint::recognises(path);
  require_kind(options.pictures.pipeline != frontend::PictureOptions{} && !pipeline,
               "--variant, --vae, --tokenizer, --prediction", "picture pipelines", options);
  PictureInspectFlags sizes = options.pictures;
  sizes.pipeline = {};
  require_kind(sizes != PictureInspectFlags{} && !pipeline && !plan::is_engine_file(path), "--width, --height, --batch",
               "picture pipelines", options);
  if (pipeline)
    inspect_pipeline(options, output);
  else if (kind == FileKind::file && is_picture_file(path))
    output.result(inspect_picture_file(path, output));
  else if (frontend::Checkpoint::recognises(path))
    inspect_checkpoint(options, output);
  else if (kind == FileKind::folder)
    fail(ErrorCode::invalid_input, "\"{}\" holds no config.json", options.path);
  else if (plan::is_engine_file(path))
    inspect_engine(options, output);
  else if (is_onnx_file(path) || path.extension() == ".onnx")
    inspect_onnx(options, output);
  else
    inspect_checkpoint(options, output);  // says what else it may be
  return Exit::good;
}

std::function<Exit(Output&)> add(CLI::App& command) {
  auto options = std::make_shared<Options>();
  command.add_option("path", options->path, "folder, .gguf, .onnx, .safetensors or .lathe file; a picture")->required();
  command.add_flag("--hash", options->hash, "sha256 of the files that hold weights");
  command.add_flag("--tensors", options->tensors, "list the tensors of a checkpoint");
  command.add_flag("--plan", options->plan, "print the plan of an engine");
  command.add_flag("--graph", options->graph, "print the graph of an engine");
  add_graph_inspect_flags(command, options->onnx);
  add_picture_inspect_flags(command, options->pictures);
  return [options](Output& output) { return run(*options, output); };
}

}  // namespace

const Verb& inspect_verb() {
  static const Verb verb{.name = "inspect",
                         .description = "what a file or folder is, and what the next step will take",
                         .example = "lathe inspect SmolLM2-135M-Instruct.Q4_1.gguf --hash",
                         .add = add};
  return verb;
}

}  // namespace lathe::cli
