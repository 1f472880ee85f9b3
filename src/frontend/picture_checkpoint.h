// A downloaded picture pipeline as the front end sees it: its models with config and tensors, its scheduler, and the
// tokenizers that travel with it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "contract/pictures.h"
#include "frontend/component.h"
#include "frontend/embedding.h"
#include "frontend/lora.h"
#include "frontend/onnx_pipeline.h"

namespace lathe::frontend {

// What is added to a pipeline when it is opened, in this order.
struct PictureParts {
  std::vector<LoraFile> loras;
  std::vector<EmbeddingFile> embeddings;

  bool operator==(const PictureParts&) const = default;
};

struct PictureOptions {
  std::string variant = {};        // of the weight files: "fp16"; empty: those without, else the only one there is
  std::filesystem::path vae = {};  // a folder of another autoencoder
  // Of a single file, which has neither: a folder of CLIP's vocab.json and merges.txt, and what its UNet predicts
  // ("epsilon", "v_prediction") where its content does not tell.
  std::filesystem::path tokenizer = {};
  std::string prediction = {};
  bool safety_checker = true;  // false: a folder's is left out
  PictureParts parts = {};

  bool operator==(const PictureOptions&) const = default;
};

// Values are immutable after open(); tensors are views into mapped files.
class PictureCheckpoint {
 public:
  // A diffusers folder (model_index.json), of checkpoints or of ONNX graphs (onnx_pipeline.h), or a single file
  // (.safetensors, or what torch.save writes: .ckpt) in the original code's names. Throws not_found, invalid_input,
  // unsupported naming the component.
  static PictureCheckpoint open(const std::filesystem::path& path, const PictureOptions& options = {});
  static bool recognises(const std::filesystem::path& path);

  bool is_onnx() const { return onnx_.has_value(); }  // components() have no tensors then
  const contract::Pictures& contract() const { return contract_; }
  // "text_encoder" and "text_encoder_2", "unet", "vae", "safety_checker": those it has.
  const std::map<std::string, ComponentInput>& components() const { return components_; }
  // "text_encoder", "text_encoder_2", "unet", "vae_decoder", "vae_encoder", "safety_checker": those that can be built.
  std::vector<std::string> graph_names() const;
  // One of these. Weights stay views. Throws as Component::build does.
  ir::Graph build(const std::string& graph, const ComponentOptions& options = {}) const;

  // Files by their path in a diffusers folder: "tokenizer/vocab.json", "scheduler/scheduler_config.json",
  // "unet/config.json", "model_index.json".
  const std::map<std::string, std::string>& assets() const { return assets_; }
  const std::vector<std::filesystem::path>& files() const { return files_; }  // those the tensors live in
  uint64_t tensor_bytes() const;
  // What was decided while opening and a person should know: how the prediction type was found.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  void open_folder(const std::filesystem::path& folder, const PictureOptions& options);
  void open_file(const std::filesystem::path& file, const PictureOptions& options);
  void open_graphs(const std::filesystem::path& folder, const Json& index, const PictureOptions& options);
  ir::Graph exported_checker() const;
  void add_parts(const PictureParts& parts);
  void add_tokenizers(const std::filesystem::path& folder, const std::string& kind);
  void add_component(const std::filesystem::path& folder, const std::string& role, const std::string& variant);
  void read_contract(const Json& index);

  contract::Pictures contract_;
  std::optional<OnnxPipeline> onnx_;
  std::map<std::string, ComponentInput> components_;
  std::map<std::string, std::string> assets_;
  std::vector<std::filesystem::path> files_;
  std::vector<std::string> notes_;
};

}  // namespace lathe::frontend
