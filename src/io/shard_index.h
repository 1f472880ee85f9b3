// The index of a checkpoint in several files: "weight_map" of model.safetensors.index.json and
// pytorch_model.bin.index.json.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lathe::io {

struct ShardIndex {
  std::vector<std::pair<std::string, std::string>> weight_map;  // tensor, file
  std::vector<std::string> shards;                              // files in the order in which they are named first
};

// Throws invalid_input for malformed JSON, names that come twice, and files that are no plain names (paths).
ShardIndex read_shard_index(const std::filesystem::path& path);
// Throws invalid_input where a tensor of the index is not in the shard it is assigned to. `found_in`: tensor -> file.
void check_shards(const ShardIndex& index, const std::unordered_map<std::string, std::string_view>& found_in);

}  // namespace lathe::io
