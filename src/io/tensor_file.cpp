#include "io/tensor_file.h"

#include <algorithm>

#include "base/error.h"
#include "io/safetensors.h"
#include "io/shard_index.h"
#include "io/torch_file.h"

namespace lathe::io {
namespace {

namespace fs = std::filesystem;

TensorFile open_one(const fs::path& path) {
  TensorFile result;
  result.files = {path};
  if (TorchFile::begins_like(read_file_head(path, 4))) {
    TorchFile file = TorchFile::open(path);
    result.tensors = std::move(file.tensors);
    result.texts = std::move(file.texts);
    return result;
  }
  SafetensorsFile file = SafetensorsFile::open(path);
  for (const StoredTensor& tensor : file.tensors) result.tensors.push_back({tensor.name, tensor.source()});
  result.texts = std::move(file.metadata);
  return result;
}

TensorFile open_shards(const fs::path& index_path) {
  const ShardIndex index = read_shard_index(index_path);
  TensorFile result;
  std::unordered_map<std::string, std::string_view> found_in;
  for (const std::string& shard : index.shards) {
    TensorFile part = open_one(index_path.parent_path() / shard);
    if (result.files.empty()) result.texts = std::move(part.texts);
    result.files.push_back(part.files[0]);
    for (NamedSource& tensor : part.tensors) {
      if (!found_in.emplace(tensor.name, shard).second) {
        fail(ErrorCode::invalid_input, "{}: tensor \"{}\" is there twice", shard, tensor.name);
      }
      result.tensors.push_back(std::move(tensor));
    }
  }
  check_shards(index, found_in);
  return result;
}

}  // namespace

TensorFile TensorFile::open(const fs::path& path) {
  if (path.extension() != ".json") return open_one(path);
  return with_context(path.string(), [&] { return open_shards(path); });
}

tensor::SourcePtr TensorFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &NamedSource::name);
  return found == tensors.end() ? nullptr : found->source;
}

const std::string* TensorFile::find_text(std::string_view key) const {
  const auto found = std::ranges::find_if(texts, [&](const auto& text) { return text.first == key; });
  return found == texts.end() ? nullptr : &found->second;
}

fs::path find_weight_file(const fs::path& folder, std::string_view stem, std::string_view torch_stem,
                          std::string_view variant) {
  const std::string dot = variant.empty() ? "" : fmt::format(".{}", variant);
  const std::string names[] = {fmt::format("{}{}.safetensors", stem, dot),
                               fmt::format("{}.safetensors.index{}.json", stem, dot),
                               fmt::format("{}{}.safetensors.index.json", stem, dot),
                               fmt::format("{}{}.bin", torch_stem, dot),
                               fmt::format("{}.bin.index{}.json", torch_stem, dot),
                               fmt::format("{}{}.bin.index.json", torch_stem, dot)};
  for (const std::string& name : names) {
    if (file_kind(folder / name) == FileKind::file) return folder / name;
  }
  return {};
}

}  // namespace lathe::io
