#include "frontend/picture_checkpoint.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "contract/classifier_size.h"
#include "frontend/single_file.h"
#include "frontend/single_file_parts.h"
#include "io/tensor_file.h"
#include "io/torch_file.h"

namespace lathe::frontend {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndex = "model_index.json";
constexpr std::array<std::string_view, 5> kRoles = {"text_encoder", "text_encoder_2", "unet", "vae", "safety_checker"};
// What the safety checker is shown of a picture.
constexpr std::string_view kFeatureExtractor = "feature_extractor/preprocessor_config.json";
// Files of a pipeline's tokenizers.
constexpr std::array<std::string_view, 6> kTokenizerFiles = {
    "tokenizer.json",        "vocab.json",       "merges.txt", "special_tokens_map.json",
    "tokenizer_config.json", "added_tokens.json"};

struct PipelineClass {
  std::string_view name;
  bool two_encoders;
};
constexpr PipelineClass kPipelines[] = {
    {"StableDiffusionPipeline", false},         {"StableDiffusionImg2ImgPipeline", false},
    {"StableDiffusionInpaintPipeline", false},  {"LatentConsistencyModelPipeline", false},
    {"StableDiffusionXLPipeline", true},        {"StableDiffusionXLImg2ImgPipeline", true},
    {"StableDiffusionXLInpaintPipeline", true},
};

// Optimum's and diffusers' classes of pipelines of ONNX graphs are named after these.
const PipelineClass& get_pipeline(std::string_view name) {
  for (const std::string_view prefix : {"ORT", "Onnx"}) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  }
  std::string known;
  for (const PipelineClass& pipeline : kPipelines) {
    if (pipeline.name == name) return pipeline;
    known += (known.empty() ? "" : ", ") + std::string(pipeline.name);
  }
  fail(ErrorCode::unsupported, "{}: pipelines of class \"{}\" are not supported (known: {})", kIndex, name, known);
}

// Whether the index names a model for the role: ["diffusers", "AutoencoderKL"], not [null, null].
bool names_component(const Json& index, std::string_view role) {
  const Json* entry = find_member(index, role);
  return entry && entry->is_array() && entry->size() == 2 && (*entry)[1].is_string();
}

// The weight file of a folder: diffusers' or transformers' name, whole or in shards, of this variant; safetensors
// before pickles.
fs::path find_weights(const fs::path& folder, const std::string& variant) {
  fs::path found[] = {io::find_weight_file(folder, "diffusion_pytorch_model", "diffusion_pytorch_model", variant),
                      io::find_weight_file(folder, "model", "pytorch_model", variant)};
  const auto is_pickle = [](const fs::path& file) {
    return file.filename().string().find(".bin") != std::string::npos;
  };
  return found[0].empty() || (is_pickle(found[0]) && !found[1].empty() && !is_pickle(found[1])) ? found[1] : found[0];
}

// `note` gets a word where only another variant than the one asked for is there.
fs::path get_weights(const fs::path& folder, const std::string& variant, std::string& note) {
  fs::path file = find_weights(folder, variant);
  if (file.empty() && variant.empty()) {
    file = find_weights(folder, "fp16");
    if (!file.empty()) note = fmt::format("only weights of variant fp16: {}", file.filename().string());
  }
  if (file.empty()) {
    fail(ErrorCode::not_found, "no weights{} in \"{}\" (diffusion_pytorch_model or model, .safetensors or .bin)",
         variant.empty() ? "" : fmt::format(" of variant \"{}\"", variant), folder.string());
  }
  return file;
}

TensorMap tensors_of(const io::TensorFile& file) {
  TensorMap tensors;
  for (const io::NamedSource& tensor : file.tensors) tensors.emplace(tensor.name, tensor.source);
  return tensors;
}

// Whether a file may hold a pipeline: safetensors by its name, as many files begin as it does; pickles by their
// content.
bool may_be_single_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  if (extension == ".safetensors") return true;
  constexpr std::string_view kPickles[] = {".ckpt", ".pth", ".pt", ".bin"};
  return std::ranges::count(kPickles, extension) > 0 && io::TorchFile::begins_like(read_file_head(path, 4));
}

int64_t width_of_states(const std::map<std::string, ComponentInput>& components) {
  int64_t width = 0;
  for (const auto& [role, component] : components) {
    if (role.starts_with("text_encoder")) width += get_int(component.config, "hidden_size");
  }
  return width;
}

// A number, or the first of a list of equal ones.
int64_t first_of(const Json& config, std::string_view key, int64_t otherwise) {
  const Json* member = find_member(config, key);
  if (member && member->is_array() && !member->empty() && (*member)[0].is_number_integer())
    return (*member)[0].get<int64_t>();
  return find_int(config, key).value_or(otherwise);
}

// The autoencoder's part of the contract.
void read_autoencoder(const Json& config, contract::Pictures& contract) {
  contract.tiny_autoencoder = find_string(config, "_class_name").value_or("") == "AutoencoderTiny";
  contract.latent_channels = find_int(config, "latent_channels").value_or(4);
  contract.scaling_factor = find_number(config, "scaling_factor").value_or(contract.tiny_autoencoder ? 1.0 : 0.18215);
  contract.shift_factor = find_number(config, "shift_factor").value_or(0);
  const Json* levels =
      find_member(config, contract.tiny_autoencoder ? "decoder_block_out_channels" : "block_out_channels");
  const int64_t count = levels && levels->is_array() ? int64_t(levels->size()) : 4;
  contract.latent_scale = int64_t{1} << std::clamp<int64_t>(count - 1, 0, 10);
  refuse_unless(config, "latents_mean", nullptr);
  refuse_unless(config, "latents_std", nullptr);
}

}  // namespace

bool PictureCheckpoint::recognises(const fs::path& path) {
  switch (file_kind(path)) {
    case FileKind::folder:
      return file_kind(path / kIndex) == FileKind::file;
    // The whole header is read: which model a file holds stands in its tensors' names.
    case FileKind::file:
      return may_be_single_file(path) && is_single_file(tensors_of(io::TensorFile::open(path)));
    default:
      return false;
  }
}

PictureCheckpoint PictureCheckpoint::open(const fs::path& path, const PictureOptions& options) {
  if (file_kind(path) == FileKind::nothing) fail(ErrorCode::not_found, "\"{}\" does not exist", path.string());
  PictureCheckpoint checkpoint;
  with_context(path.string(), [&] {
    if (file_kind(path) == FileKind::folder) {
      checkpoint.open_folder(path, options);
    } else {
      checkpoint.open_file(path, options);
    }
    checkpoint.add_parts(options.parts);
  });
  return checkpoint;
}

void PictureCheckpoint::open_folder(const fs::path& folder, const PictureOptions& options) {
  Json index = read_json_file(folder / kIndex);
  const bool unchecked = !options.safety_checker && names_component(index, "safety_checker");
  if (unchecked) {
    for (const char* role : {"safety_checker", "feature_extractor"}) index[role] = {nullptr, nullptr};
    notes_.push_back("the safety checker that the pipeline was published with is left out");
  }
  const PipelineClass& pipeline = get_pipeline(get_string(index, "_class_name"));
  contract_.pipeline = pipeline.name;
  contract_.two_encoders = pipeline.two_encoders;
  contract_.name = fs::weakly_canonical(folder).filename().string();
  contract_.source = folder.string();
  const auto add_asset = [&](const std::string& name) {
    if (file_kind(folder / name) == FileKind::file) assets_.emplace(name, read_text_file(folder / name));
  };
  assets_.emplace(kIndex, unchecked ? index.dump(2) : read_text_file(folder / kIndex));
  if (names_component(index, "safety_checker")) add_asset(std::string(kFeatureExtractor));
  add_asset("scheduler/scheduler_config.json");
  for (const std::string_view name : kTokenizerFiles) {
    for (const char* tokenizer : {"tokenizer", "tokenizer_2"}) add_asset(fmt::format("{}/{}", tokenizer, name));
  }
  if (is_onnx_pipeline(folder)) {
    open_graphs(folder, index, options);
    read_contract(index);
    return;
  }
  for (const std::string_view role : kRoles) {
    if (!names_component(index, role)) continue;
    const bool other = role == "vae" && !options.vae.empty();
    add_component(other ? options.vae : folder / role, std::string(role), options.variant);
  }
  read_contract(index);
}

// Models that are ONNX files: their configs stand for them, their graphs are imported when they are built.
void PictureCheckpoint::open_graphs(const fs::path& folder, const Json& index, const PictureOptions& options) {
  if (!options.variant.empty() || !options.vae.empty() || options.parts != PictureParts{}) {
    fail(ErrorCode::unsupported,
         "--variant, --vae, --lora and --embedding are for checkpoints; this folder has graphs");
  }
  onnx_ = open_onnx_pipeline(folder);
  for (const auto& [role, config] : onnx_->configs) {
    components_.emplace(role, ComponentInput{.role = role, .config = config, .tensors = {}});
    assets_[role + "/config.json"] = config.dump(2);
  }
  const bool checked = names_component(index, "safety_checker");
  const bool has_weights = checked && !find_weights(folder / "safety_checker", "").empty();
  if (!checked || has_weights) onnx_->graphs.erase("safety_checker");
  if (has_weights) add_component(folder / "safety_checker", "safety_checker", "");
  if (checked && !has_weights && !onnx_->graphs.contains("safety_checker")) {
    notes_.push_back("model_index.json names a safety checker that the folder does not have");
  }
  for (const auto& [name, file] : onnx_->graphs) files_.push_back(file);
}

void PictureCheckpoint::open_file(const fs::path& file, const PictureOptions& options) {
  const TensorMap tensors = tensors_of(io::TensorFile::open(file));
  if (!is_single_file(tensors)) {
    fail(ErrorCode::unsupported, "no tensor below \"{}\": neither a diffusers folder nor a single-file checkpoint",
         kSingleFileUNet);
  }
  SingleFile single = split_single_file(tensors, {.prediction = options.prediction});
  files_ = {file};
  contract_.pipeline = single.pipeline;
  contract_.two_encoders = get_pipeline(single.pipeline).two_encoders;
  contract_.name = file.stem().string();
  contract_.source = file.string();
  notes_.push_back(fmt::format("{}; {}, by {}", single.kind, get_string(single.scheduler, "prediction_type"),
                               single.prediction_from));
  components_ = std::move(single.components);
  for (const auto& [role, component] : components_) assets_[role + "/config.json"] = component.config.dump(2);
  assets_["scheduler/scheduler_config.json"] = single.scheduler.dump(2);
  Json index = {{"_class_name", single.pipeline}};
  for (const auto& [role, component] : components_) {
    const bool text = role.starts_with("text_encoder");
    index[role] = {text ? "transformers" : "diffusers", std::string(get_component(component.config).class_names[0])};
  }
  assets_[std::string(kIndex)] = index.dump(2);
  if (!options.vae.empty()) {
    components_.erase("vae");
    add_component(options.vae, "vae", options.variant);
  }
  if (!options.tokenizer.empty()) add_tokenizers(options.tokenizer, single.kind);
  read_contract(index);
}

void PictureCheckpoint::add_parts(const PictureParts& parts) {
  for (const LoraFile& lora : parts.loras) {
    notes_.push_back(apply_lora(components_, lora));
    files_.push_back(lora.path);
  }
  for (const EmbeddingFile& embedding : parts.embeddings) {
    notes_.push_back(apply_embedding(components_, assets_, embedding));
    files_.push_back(embedding.path);
  }
}

// CLIP's vocabulary is the same for all kinds; what fills up a prompt is not: "!" (id 0) where OpenCLIP reads.
void PictureCheckpoint::add_tokenizers(const fs::path& folder, const std::string& kind) {
  for (const auto& [role, component] : components_) {
    if (!role.starts_with("text_encoder")) continue;
    const std::string name = "tokenizer" + role.substr(std::string_view("text_encoder").size());
    for (const char* file : {"vocab.json", "merges.txt"}) {
      if (file_kind(folder / file) != FileKind::file)
        fail(ErrorCode::not_found, "no {} in \"{}\"", file, folder.string());
      assets_[fmt::format("{}/{}", name, file)] = read_text_file(folder / file);
    }
    const bool open_clip = kind == "Stable Diffusion 2" || role == "text_encoder_2";
    assets_[name + "/special_tokens_map.json"] = Json{{"bos_token", "<|startoftext|>"},
                                                      {"eos_token", "<|endoftext|>"},
                                                      {"unk_token", "<|endoftext|>"},
                                                      {"pad_token", open_clip ? "!" : "<|endoftext|>"}}
                                                     .dump(2);
  }
}

void PictureCheckpoint::add_component(const fs::path& folder, const std::string& role, const std::string& variant) {
  with_context(role, [&] {
    if (file_kind(folder) != FileKind::folder) fail(ErrorCode::not_found, "no folder \"{}\"", folder.string());
    ComponentInput input{.role = role, .config = {}, .tensors = {}};
    assets_[role + "/config.json"] = read_text_file(folder / "config.json");
    input.config = parse_json(assets_[role + "/config.json"], "config.json");
    get_component(input.config);  // unknown classes fail before tensors are read
    std::string note;
    const auto model = io::TensorFile::open(get_weights(folder, variant, note));
    if (!note.empty()) notes_.push_back(role + ": " + note);
    input.tensors = tensors_of(model);
    files_.insert(files_.end(), model.files.begin(), model.files.end());
    components_.emplace(role, std::move(input));
  });
}

void PictureCheckpoint::read_contract(const Json& index) {
  for (const char* role : {"text_encoder", "unet", "vae"}) {
    const bool optional = role == std::string_view("text_encoder") && contract_.two_encoders;
    if (!components_.contains(role) && !optional) fail(ErrorCode::invalid_input, "{} names no {}", kIndex, role);
  }
  const auto scheduler = assets_.find("scheduler/scheduler_config.json");
  if (scheduler == assets_.end()) fail(ErrorCode::not_found, "no scheduler/scheduler_config.json");
  contract_.scheduler = scheduler->second;
  const Json& unet = components_.at("unet").config;
  contract_.unet_channels = find_int(unet, "in_channels").value_or(4);
  contract_.sample_size = first_of(unet, "sample_size", 64);
  contract_.context_width = first_of(unet, "cross_attention_dim", 1280);
  contract_.guidance_width = find_int(unet, "time_cond_proj_dim").value_or(0);
  contract_.guidance_embedded = contract_.guidance_width > 0;
  contract_.zero_empty_negative = find_bool(index, "force_zeros_for_empty_prompt").value_or(contract_.two_encoders);
  contract_.safety_checker =
      components_.contains("safety_checker") || (onnx_ && onnx_->graphs.contains("safety_checker"));
  if (contract_.safety_checker) {
    const auto extractor = assets_.find(std::string(kFeatureExtractor));
    if (extractor == assets_.end())
      fail(ErrorCode::not_found, "no {}, which the safety checker needs", kFeatureExtractor);
    contract_.feature_extractor = extractor->second;
  }
  for (const auto& [role, component] : components_) {
    if (!role.starts_with("text_encoder")) continue;
    contract_.text_tokens = find_int(component.config, "max_position_embeddings").value_or(77);
  }
  read_autoencoder(components_.at("vae").config, contract_);
  if (onnx_ && onnx_->encodes_latents && !contract_.tiny_autoencoder) {
    contract_.tiny_autoencoder = true;  // what it means: latents, no distribution
  }
  if (const int64_t width = width_of_states(components_); width != contract_.context_width) {
    fail(ErrorCode::invalid_input, "the text encoder{} states of {} numbers, the UNet's cross_attention_dim is {}",
         contract_.two_encoders ? "s give" : " gives", width, contract_.context_width);
  }
  const int64_t out_channels = find_int(unet, "out_channels").value_or(4);
  if (out_channels != contract_.latent_channels) {
    fail(ErrorCode::invalid_input, "the UNet gives {} channels, the autoencoder takes {} latent channels", out_channels,
         contract_.latent_channels);
  }
  const bool text_time = find_string(unet, "addition_embed_type").value_or("") == "text_time";
  if (text_time != contract_.two_encoders) {
    fail(ErrorCode::invalid_input, "{}: a UNet {} pooled text and sizes (addition_embed_type) does not belong to a {}",
         kIndex, text_time ? "with" : "without", contract_.pipeline);
  }
  check(contract_);
}

std::vector<std::string> PictureCheckpoint::graph_names() const {
  std::vector<std::string> names;
  for (const auto& [role, component] : components_) {
    if (role != "vae") names.push_back(role);
  }
  for (const char* name : {"vae_decoder", "vae_encoder"}) {
    if (!onnx_ || onnx_->graphs.contains(name)) names.push_back(name);
  }
  if (onnx_ && onnx_->graphs.contains("safety_checker")) names.push_back("safety_checker");
  return names;
}

ir::Graph PictureCheckpoint::build(const std::string& graph, const ComponentOptions& options) const {
  const bool checker = graph == "safety_checker";
  if (onnx_ && checker && onnx_->graphs.contains(graph)) return exported_checker();
  if (onnx_ && !checker) return import_picture_graph(*onnx_, graph);
  const std::string role = graph.starts_with("vae_") ? "vae" : graph;
  const auto component = components_.find(role);
  if (component == components_.end()) fail(ErrorCode::not_found, "the pipeline has no {}", graph);
  GraphMap graphs = build_component(component->second, options);
  return std::move(graphs.at(graph));
}

// Exporters leave lengths open that its positions fix: here they are those that it is shown.
ir::Graph PictureCheckpoint::exported_checker() const {
  ir::Graph graph = import_picture_graph(*onnx_, "safety_checker");
  const int64_t side = contract_.sample_size * contract_.latent_scale;
  const contract::ClassifierSize shown = contract::classifier_size(side, side, contract_.feature_extractor);
  const tensor::Shape& shape = graph.type(graph.inputs()[0]).shape;
  graph.set_type(graph.inputs()[0], {tensor::DType::f32, {shape[0], 3, shown.height, shown.width}, {}});
  graph.infer_types();
  return graph;
}

uint64_t PictureCheckpoint::tensor_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [role, component] : components_) {
    for (const auto& [name, source] : component.tensors) bytes += source->byte_size();
  }
  return bytes;
}

}  // namespace lathe::frontend
