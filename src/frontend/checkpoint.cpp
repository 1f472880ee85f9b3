#include "frontend/checkpoint.h"

#include <array>
#include <fstream>

#include "base/error.h"
#include "frontend/decoder.h"
#include "frontend/gguf_config.h"

namespace lathe::frontend {
namespace {

// Files that go with a model, by Hugging Face's names.
constexpr std::array<std::string_view, 6> kAssets = {"config.json",
                                                     "generation_config.json",
                                                     "tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "chat_template.jinja"};

bool has_gguf_magic(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;  // reading a pipe could wait for ever
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, 4) && std::string_view(magic, 4) == "GGUF";
}

}  // namespace

bool Checkpoint::recognises(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return std::filesystem::exists(path / "config.json", error);
  return std::filesystem::is_regular_file(path, error) && has_gguf_magic(path);
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    if (error) fail(ErrorCode::io, "cannot open \"{}\": {}", path.string(), error.message());
    fail(ErrorCode::not_found, "\"{}\" does not exist", path.string());
  }
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  with_context(path.string(), [&] {
    if (std::filesystem::is_directory(path)) checkpoint.open_folder();
    else if (has_gguf_magic(path)) checkpoint.open_gguf();
    else fail(ErrorCode::invalid_input, "neither a model folder nor a GGUF file");
  });
  return checkpoint;
}

void Checkpoint::open_folder() {
  if (!std::filesystem::exists(path_ / "config.json")) {
    fail(ErrorCode::invalid_input, "no config.json in this folder");
  }
  for (const std::string_view name : kAssets) {
    const std::filesystem::path file = path_ / name;
    if (std::filesystem::exists(file)) assets_.emplace(name, read_text_file(file));
  }
  config_ = parse_json(assets_.at("config.json"), "config.json");
  architecture_ = &get_architecture(get_string(config_, "model_type"));
  const auto model = io::SafetensorsModel::open(path_);
  for (const io::StoredTensor& tensor : model.tensors) tensors_.emplace(tensor.name, tensor.source());
  files_ = model.files;
}

void Checkpoint::open_gguf() {
  gguf_ = std::make_shared<const io::GgufModel>(io::GgufModel::open(path_));
  const io::GgufMetadata& metadata = gguf_->first.metadata;
  architecture_ = &get_gguf_architecture(metadata.get_string("general.architecture"));
  for (const io::StoredTensor& tensor : gguf_->tensors) tensors_.emplace(tensor.name, tensor.source());
  files_ = gguf_->files;
  config_ = config_from_gguf(*gguf_, *architecture_);
  assets_ = assets_from_gguf(metadata, config_);
}

tensor::SourcePtr Checkpoint::find_tensor(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : it->second;
}

std::vector<std::string> Checkpoint::tensor_names() const {
  std::vector<std::string> names;
  for (const auto& [name, source] : tensors_) names.push_back(name);
  return names;
}

uint64_t Checkpoint::tensor_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, source] : tensors_) bytes += source->byte_size();
  return bytes;
}

std::map<std::string, int64_t> Checkpoint::tensor_kinds() const {
  std::map<std::string, int64_t> kinds;
  for (const auto& [name, source] : tensors_) {
    const bool plain = source->encoding() == tensor::Encoding::plain;
    ++kinds[std::string(plain ? tensor::to_string(source->dtype()) : tensor::to_string(source->encoding()))];
  }
  return kinds;
}

}  // namespace lathe::frontend
