// Low-rank changes to the models of a picture pipeline (LoRA), merged into the weights when a checkpoint is opened.
// "LoRA: Low-Rank Adaptation of Large Language Models", section 4.1; W + scale * alpha / rank * B A.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "frontend/component.h"

namespace lathe::frontend {

struct LoraFile {
  std::filesystem::path path;
  double scale = 1;

  bool operator==(const LoraFile&) const = default;
};

// "F" or "F:0.8". Throws usage for a scale that is no number.
LoraFile parse_lora(std::string_view text);

// Adds what the file holds to the weights of `components`, each becoming a view that computes when it is read. Names
// are those of kohya's scripts (lora_unet_.., lora_te_.., lora_te1_..; diffusers' or the original's names of layers),
// of diffusers and peft (unet...lora_A.weight), and of diffusers before that (lora.down.weight, to_q_lora.down.weight).
// Returns a line that says what was merged. Throws invalid_input, listing names and shapes, where a layer of the file
// is none of this model's: it was made for another one; unsupported for DoRA, LoHa and LoKr.
std::string apply_lora(std::map<std::string, ComponentInput>& components, const LoraFile& lora);

}  // namespace lathe::frontend
