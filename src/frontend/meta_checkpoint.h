// Llama as Meta publishes it: params.json and consolidated.00.pth, 01 ..., brought to Hugging Face's config and names.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "tensor/source.h"

namespace lathe::frontend {

struct MetaCheckpoint {
  Json config;  // LlamaConfig's, without a tokenizer's tokens
  std::map<std::string, tensor::SourcePtr, std::less<>> tensors;
  std::vector<std::filesystem::path> files;

  static bool recognises(const std::filesystem::path& folder);
  // Shards of one model are views joined side by side; queries and keys are in Hugging Face's order of rotary pairs.
  // Throws invalid_input naming the tensor or the key; not_found where a shard is missing.
  static MetaCheckpoint open(const std::filesystem::path& folder);
};

}  // namespace lathe::frontend
