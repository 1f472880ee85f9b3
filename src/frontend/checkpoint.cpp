#include "frontend/checkpoint.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "frontend/decoder.h"
#include "frontend/gguf_config.h"
#include "frontend/meta_checkpoint.h"
#include "io/tensor_file.h"
#include "io/torch_file.h"
#include "text/sentencepiece.h"

namespace lathe::frontend {
namespace {

// Files that go with a model, by Hugging Face's names.
constexpr std::array<std::string_view, 6> kAssets = {"config.json",
                                                     "generation_config.json",
                                                     "tokenizer.json",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "chat_template.jinja"};

bool is_gguf_head(std::string_view head) { return head.starts_with("GGUF"); }

// What a file that is no checkpoint of ours begins like; empty: nothing we know.
std::string_view foreign_kind(std::string_view head) {
  if (head.starts_with(std::string_view("LATHE\r\n\0", 8))) return "an engine, not a checkpoint";
  if (io::TorchFile::begins_like(head)) {
    return "a file of torch.save or another zip archive; give the folder with its config.json";
  }
  // Eight bytes of header length, then the header's JSON.
  if (head.size() > 8 && head[6] == 0 && head[7] == 0 && head[8] == '{') {
    return "a .safetensors file; give the folder with its config.json";
  }
  return {};
}

[[noreturn]] void fail_unknown_file(std::string_view head) {
  const std::string_view kind = foreign_kind(head);
  if (!kind.empty()) fail(ErrorCode::unsupported, "expected a model folder or a GGUF file, found {}", kind);
  fail(ErrorCode::invalid_input, "neither a model folder nor a GGUF file");
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\"'");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\"'") - begin + 1);
}

// The value of `key` in the YAML between the two "---" at the top of a model card: its only or first entry. Not a
// YAML reader: keys of the outermost level, plain or quoted scalars, and lists of these.
std::string front_matter(std::string_view card, std::string_view key) {
  if (!card.starts_with("---")) return "";
  bool in_list = false;
  for (size_t at = card.find('\n'); at != std::string_view::npos;) {
    const size_t begin = at + 1;
    at = card.find('\n', begin);
    const std::string_view line = card.substr(begin, at == std::string_view::npos ? at : at - begin);
    if (line.starts_with("---")) return "";
    if (in_list) {
      const std::string_view item = trim(line);
      return item.starts_with("- ") ? std::string(trim(item.substr(2))) : "";
    }
    if (!line.starts_with(key) || line.substr(key.size(), 1) != ":") continue;
    const std::string_view value = trim(line.substr(key.size() + 1));
    if (!value.empty()) return std::string(value);
    in_list = true;
  }
  return "";
}

// Hugging Face keeps the licence in the model card, and its name beside "other" where it is none of the usual.
std::string licence_of_card(const std::filesystem::path& card) {
  constexpr size_t kFrontMatter = 64 << 10;
  if (file_kind(card) != FileKind::file) return "";
  const std::string head = read_file_head(card, kFrontMatter);
  const std::string licence = front_matter(head, "license");
  const std::string name = licence == "other" ? front_matter(head, "license_name") : "";
  return name.empty() ? licence : name;
}

// Under config.json's key for it, where some keep it themselves.
void set_licence(Json& config, std::string_view name) {
  constexpr size_t kLongest = 100;
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c <= '~'; });
  if (!name.empty() && name.size() <= kLongest && printable && !config.contains("license")) {
    config["license"] = std::string(name);
  }
}

std::map<std::string, std::string> assets_of(const std::filesystem::path& folder) {
  std::map<std::string, std::string> assets;
  for (const std::string_view name : kAssets) {
    const std::filesystem::path file = folder / name;
    if (file_kind(file) != FileKind::nothing) assets.emplace(name, read_text_file(file));
  }
  return assets;
}

// The file that holds the weights, or their index: of the usual names, else the only .safetensors.
io::TensorFile open_weights(const std::filesystem::path& folder) {
  const std::filesystem::path file = io::find_weight_file(folder, "model", "pytorch_model", "");
  if (!file.empty()) return io::TensorFile::open(file);
  return io::TensorFile::open(io::SafetensorsModel::find_file(folder));
}

}  // namespace

bool Checkpoint::recognises(const std::filesystem::path& path) {
  switch (file_kind(path)) {
    case FileKind::folder:
      return file_kind(path / "config.json") != FileKind::nothing || MetaCheckpoint::recognises(path);
    case FileKind::file: return is_gguf_head(read_file_head(path, 4));
    default: return false;
  }
}

Checkpoint Checkpoint::open(const std::filesystem::path& path) {
  const FileKind kind = file_kind(path);
  if (kind == FileKind::nothing) fail(ErrorCode::not_found, "\"{}\" does not exist", path.string());
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  with_context(path.string(), [&] {
    if (kind == FileKind::folder) return checkpoint.open_folder();
    const std::string head = read_file_head(path, 16);  // refuses pipes and devices
    if (!is_gguf_head(head)) fail_unknown_file(head);
    checkpoint.open_gguf();
  });
  return checkpoint;
}

const Architecture& Checkpoint::architecture() const {
  return architecture_ ? *architecture_ : get_architecture(get_string(config_, "model_type"));
}

// The tokenizer of Meta's folders, and of Hugging Face's without a tokenizer.json; ids that the config lacks are its
// own. What we cannot read is no reason to leave the model closed.
void Checkpoint::add_sentencepiece() {
  const std::filesystem::path file = path_ / "tokenizer.model", added = path_ / "added_tokens.json";
  if (assets_.contains("tokenizer.json") || file_kind(file) == FileKind::nothing) return;
  try {
    const std::string bytes = read_text_file(file);
    const std::string added_tokens = file_kind(added) == FileKind::nothing ? "" : read_text_file(added);
    const auto asset = [&](const char* name) {
      const auto it = assets_.find(name);
      return it == assets_.end() ? std::string_view() : std::string_view(it->second);
    };
    const auto span = std::as_bytes(std::span(bytes));
    const text::GgufTokenizer tokenizer = text::read_sentencepiece(span, "tokenizer.model");
    const text::TokenizerSettings settings = {.added_tokens = added_tokens,
                                              .tokenizer_config = asset("tokenizer_config.json"),
                                              .special_tokens_map = asset("special_tokens_map.json")};
    assets_["tokenizer.json"] =
        text::tokenizer_json_from_sentencepiece(span, "tokenizer.model", settings).dump() + "\n";
    for (const auto& [key, id] :
         {std::pair{"bos_token_id", tokenizer.bos_token_id}, {"eos_token_id", tokenizer.eos_token_id}}) {
      if (id && !config_.contains(key)) config_[key] = *id;
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_input && error.code() != ErrorCode::unsupported) throw;
    tokenizer_problem_ = error.what();
  }
}

void Checkpoint::open_meta() {
  assets_ = assets_of(path_);
  MetaCheckpoint meta = MetaCheckpoint::open(path_);
  config_ = std::move(meta.config);
  add_sentencepiece();
  assets_["config.json"] = config_.dump(2);
  tensors_ = std::move(meta.tensors);
  files_ = std::move(meta.files);
  architecture_ = &get_architecture("llama");
}

void Checkpoint::open_folder() {
  if (file_kind(path_ / "config.json") == FileKind::nothing) {
    if (MetaCheckpoint::recognises(path_)) return open_meta();
    fail(ErrorCode::invalid_input, "no config.json in this folder");
  }
  assets_ = assets_of(path_);
  config_ = parse_config(assets_.at("config.json"));
  add_sentencepiece();
  set_licence(config_, licence_of_card(path_ / "README.md"));
  if (file_kind(path_ / "model.onnx") == FileKind::file &&
      io::find_weight_file(path_, "model", "pytorch_model", "").empty()) {
    onnx_ = true;
    files_ = {path_ / "model.onnx"};
    return;
  }
  architecture_ = &get_architecture(get_string(config_, "model_type"));
  const io::TensorFile model = open_weights(path_);
  for (const io::NamedSource& tensor : model.tensors) tensors_.emplace(tensor.name, tensor.source);
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
  set_licence(config_, metadata.find_string("general.license").value_or(""));
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
