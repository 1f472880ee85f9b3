// The names that the original code gives to the layers of a UNet that is stored under diffusers' names.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "frontend/named_weights.h"

namespace lathe::frontend {

// The inverse of what single_file_parts does, by layer: down_blocks.1.attentions.0.proj_in -> input_blocks.4.1.proj_in.
class OriginalUnetNames {
 public:
  OriginalUnetNames() = default;
  explicit OriginalUnetNames(const TensorMap& tensors);  // by diffusers' names

  // Empty where it has none.
  std::string of(const std::string& module) const;

 private:
  void add(std::string from, std::string to) { prefixes_.emplace_back(std::move(from), std::move(to)); }

  std::vector<std::pair<std::string, std::string>> prefixes_;  // diffusers', the original's
};

}  // namespace lathe::frontend
