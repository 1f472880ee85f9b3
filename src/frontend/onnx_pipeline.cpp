#include "frontend/onnx_pipeline.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "frontend/onnx_import.h"
#include "frontend/onnx_interface.h"
#include "io/tensor_file.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;
using ir::Value;

constexpr std::string_view kGraphs[] = {"text_encoder", "text_encoder_2", "unet",
                                          "vae_decoder",  "vae_encoder",    "safety_checker"};

Value find_input(const ir::Graph& graph, std::string_view name) {
  for (const Value input : graph.inputs()) {
    if (graph.name(input) == name) return input;
  }
  fail(ErrorCode::unsupported, "no input \"{}\"", name);
}

bool has_output(const ir::Graph& graph, std::string_view name) {
  return std::ranges::any_of(graph.outputs(), [&](Value output) { return graph.name(output) == name; });
}

// The length of an axis that does not change from run to run.
int64_t fixed_length(const ir::Graph& graph, Value value, size_t axis) {
  const tensor::Dim& dim = graph.type(value).shape.at(axis);
  if (dim.is_constant()) return dim.value();
  fail(ErrorCode::unsupported, "\"{}\" does not say how long axis {} is, and there is no config.json",
       graph.name(value), axis);
}

// What the UNet's graph shows. Sizes that it does not are those of Stable Diffusion 1.
Json unet_config(const ir::Graph& graph) {
  const Value sample = find_input(graph, "sample");
  const Value output = graph.outputs()[0];
  const int64_t channels = fixed_length(graph, sample, 1);
  const tensor::Dim& given = graph.type(output).shape.at(1);
  return {{"_class_name", "UNet2DConditionModel"},
          {"in_channels", channels},
          {"out_channels", given.is_constant() ? given.value() : std::min<int64_t>(channels, 4)},
          {"cross_attention_dim", fixed_length(graph, find_input(graph, "encoder_hidden_states"), 2)},
          {"sample_size", 64}};
}

Json text_config(const ir::Graph& graph) {
  const auto states =
      std::ranges::find_if(graph.outputs(), [&](Value output) { return graph.name(output) == "last_hidden_state"; });
  const tensor::Dim& tokens = graph.type(find_input(graph, "input_ids")).shape.at(1);
  return {{"architectures", Json::array({"CLIPTextModel"})},
          {"hidden_size", fixed_length(graph, *states, 2)},
          {"max_position_embeddings", tokens.is_constant() ? tokens.value() : 77}};
}

// Each doubling of the size is a Resize (or an older Upsample, which import makes one).
Json vae_config(const ir::Graph& decoder) {
  const auto doublings =
      std::ranges::count_if(decoder.nodes(), [&](ir::NodeId id) { return decoder.node(id).op == "Resize"; });
  return {{"_class_name", "AutoencoderKL"},
          {"latent_channels", fixed_length(decoder, find_input(decoder, "latent_sample"), 1)},
          {"block_out_channels", Json(std::vector<int64_t>(size_t(doublings) + 1, 0))},
          {"scaling_factor", 0.18215}};
}

// The first of the files that is there.
Json read_config(const fs::path& folder, std::initializer_list<const char*> roles) {
  for (const char* role : roles) {
    const fs::path file = folder / role / "config.json";
    if (file_kind(file) == FileKind::file) return read_json_file(file);
  }
  return nullptr;
}

void read_configs(const fs::path& folder, OnnxPipeline& pipeline) {
  const auto graph = [&](const std::string& name) { return import_picture_graph(pipeline, name); };
  for (const char* role : {"text_encoder", "text_encoder_2"}) {
    if (!pipeline.graphs.contains(role)) continue;
    Json config = read_config(folder, {role});
    pipeline.configs[role] = config.is_null() ? text_config(graph(role)) : config;
  }
  Json unet = read_config(folder, {"unet"});
  pipeline.configs["unet"] = unet.is_null() ? unet_config(graph("unet")) : unet;
  Json vae = read_config(folder, {"vae_decoder", "vae", "vae_encoder"});
  pipeline.configs["vae"] = vae.is_null() ? vae_config(graph("vae_decoder")) : vae;
  if (pipeline.graphs.contains("vae_encoder")) pipeline.encodes_latents = has_output(graph("vae_encoder"), "latents");
}

}  // namespace

bool is_onnx_pipeline(const fs::path& folder) {
  return file_kind(folder / "unet/model.onnx") == FileKind::file &&
         io::find_weight_file(folder / "unet", "diffusion_pytorch_model", "diffusion_pytorch_model", "").empty();
}

OnnxPipeline open_onnx_pipeline(const fs::path& folder) {
  OnnxPipeline pipeline;
  for (const std::string_view name : kGraphs) {
    const fs::path file = folder / name / "model.onnx";
    if (file_kind(file) == FileKind::file) pipeline.graphs.emplace(name, file);
  }
  if (!pipeline.graphs.contains("vae_decoder")) fail(ErrorCode::not_found, "no vae_decoder/model.onnx");
  read_configs(folder, pipeline);
  return pipeline;
}

ir::Graph import_picture_graph(const OnnxPipeline& pipeline, const std::string& name) {
  const auto file = pipeline.graphs.find(name);
  if (file == pipeline.graphs.end()) fail(ErrorCode::not_found, "the pipeline has no {}", name);
  return with_context(file->second.string(),
                      [&] { return with_own_interface(import_onnx(io::OnnxFile::open(file->second)), name); });
}

}  // namespace lathe::frontend
