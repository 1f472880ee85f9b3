// A downloaded language model as the front end sees it: a Hugging Face style config, tensors, and the files
// that travel with it, whatever container they came in.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "tensor/source.h"

namespace lathe::frontend {

struct Architecture;

// Values are immutable after open(); tensors are views into mapped files that the checkpoint keeps alive (the
// sources themselves do too).
class Checkpoint {
 public:
  // A Hugging Face folder (config.json + safetensors, pytorch_model.bin or model.onnx), Meta's of a Llama (params.json
  // + consolidated.00.pth) or a .gguf file (the first of a split set). Throws not_found, invalid_input, unsupported.
  static Checkpoint open(const std::filesystem::path& path);
  // True when open() would try: a folder with config.json or Meta's params.json, or a file that begins with GGUF's
  // magic.
  static bool recognises(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool is_gguf() const { return gguf_ != nullptr; }
  // A folder with a graph in place of tensors (Optimum's export): files() is the .onnx file, there are no tensors, and
  // the model type may be any.
  bool is_onnx() const { return onnx_; }
  // config.json, or its equivalent made from GGUF metadata.
  const Json& config() const { return config_; }
  const Architecture& architecture() const;  // throws unsupported for an ONNX folder of an unknown one

  // The stored tensor, or nullptr.
  tensor::SourcePtr find_tensor(std::string_view name) const;
  std::vector<std::string> tensor_names() const;  // sorted

  // Files that belong to the model, by the name Hugging Face gives them: tokenizer.json,
  // tokenizer_config.json, special_tokens_map.json, generation_config.json, chat_template.jinja, and
  // config.json itself. GGUF metadata is turned into them.
  const std::map<std::string, std::string>& assets() const { return assets_; }
  // Why a tokenizer's file that is there did not become a tokenizer.json; empty: it did, or there is none. The model is
  // complete without, for whoever has token ids.
  const std::string& tokenizer_problem() const { return tokenizer_problem_; }
  // The files the tensors live in, in order (for hashes and sizes).
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // Bytes of all tensors as stored, and how many there are of each kind ("f32", "q4_1").
  uint64_t tensor_bytes() const;
  std::map<std::string, int64_t> tensor_kinds() const;

 private:
  void open_folder();
  void open_meta();
  void open_gguf();
  void add_sentencepiece();

  std::filesystem::path path_;
  bool onnx_ = false;
  Json config_;
  const Architecture* architecture_ = nullptr;
  std::shared_ptr<const io::GgufModel> gguf_;
  std::map<std::string, tensor::SourcePtr, std::less<>> tensors_;
  std::map<std::string, std::string> assets_;
  std::string tokenizer_problem_;
  std::vector<std::filesystem::path> files_;
};

}  // namespace lathe::frontend
