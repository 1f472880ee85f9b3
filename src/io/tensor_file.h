// The tensors of a checkpoint by name, whichever container they are in: .safetensors, what torch.save writes, or shards
// of either with an index.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/stored_tensor.h"

namespace lathe::io {

struct TensorFile {
  std::vector<NamedSource> tensors;  // with unique names
  // Texts that stand beside them: safetensors' metadata, texts of a pickled dict; of the first file.
  std::vector<std::pair<std::string, std::string>> texts;
  std::vector<std::filesystem::path> files;  // in the order in which the index names them first

  // The container is told by its content, an index by the name's end (.json). Throws as SafetensorsFile and TorchFile.
  static TensorFile open(const std::filesystem::path& path);

  tensor::SourcePtr find(std::string_view name) const;       // nullptr when absent
  const std::string* find_text(std::string_view key) const;  // nullptr when absent
};

// The weight file of a Hugging Face folder: the first there is of stem.safetensors, its index, torch_stem.bin and its
// index, the variant ("fp16"; may be empty) in its place in the name. Empty where there is none.
std::filesystem::path find_weight_file(const std::filesystem::path& folder, std::string_view stem,
                                       std::string_view torch_stem, std::string_view variant);

}  // namespace lathe::io
