#include "frontend/original_unet.h"

namespace lathe::frontend {
namespace {

constexpr int kMostBlocks = 100;

// Layers inside a resnet: diffusers' name, the original's.
constexpr std::pair<std::string_view, std::string_view> kResnet[] = {
    {"norm1", "in_layers.0"},  {"conv1", "in_layers.2"},  {"time_emb_proj", "emb_layers.1"},
    {"norm2", "out_layers.0"}, {"conv2", "out_layers.3"}, {"conv_shortcut", "skip_connection"}};

bool has_below(const TensorMap& tensors, const std::string& prefix) {
  const auto found = tensors.lower_bound(prefix);
  return found != tensors.end() && found->first.starts_with(prefix);
}

int count_resnets(const TensorMap& tensors, const std::string& block) {
  int count = 0;
  while (count < kMostBlocks && has_below(tensors, fmt::format("{}resnets.{}.", block, count))) ++count;
  return count;
}

}  // namespace

OriginalUnetNames::OriginalUnetNames(const TensorMap& tensors) {
  for (const auto& [from, to] : {std::pair{"conv_in", "input_blocks.0.0"},
                                 {"time_embedding.linear_1", "time_embed.0"},
                                 {"time_embedding.linear_2", "time_embed.2"},
                                 {"add_embedding.linear_1", "label_emb.0.0"},
                                 {"add_embedding.linear_2", "label_emb.0.2"},
                                 {"conv_out", "out.2"},
                                 {"mid_block.resnets.0.", "middle_block.0."},
                                 {"mid_block.attentions.0.", "middle_block.1."},
                                 {"mid_block.resnets.1.", "middle_block.2."}}) {
    add(from, to);
  }
  int at = 1;
  for (int i = 0; i < kMostBlocks && has_below(tensors, fmt::format("down_blocks.{}.", i)); ++i) {
    const std::string block = fmt::format("down_blocks.{}.", i);
    const int layers = count_resnets(tensors, block);
    for (int j = 0; j < layers; ++j, ++at) {
      add(fmt::format("{}resnets.{}.", block, j), fmt::format("input_blocks.{}.0.", at));
      add(fmt::format("{}attentions.{}.", block, j), fmt::format("input_blocks.{}.1.", at));
    }
    if (!has_below(tensors, block + "downsamplers.")) continue;
    add(block + "downsamplers.0.conv", fmt::format("input_blocks.{}.0.op", at++));
  }
  at = 0;
  for (int i = 0; i < kMostBlocks && has_below(tensors, fmt::format("up_blocks.{}.", i)); ++i) {
    const std::string block = fmt::format("up_blocks.{}.", i);
    const int layers = count_resnets(tensors, block);
    for (int j = 0; j < layers; ++j, ++at) {
      add(fmt::format("{}resnets.{}.", block, j), fmt::format("output_blocks.{}.0.", at));
      add(fmt::format("{}attentions.{}.", block, j), fmt::format("output_blocks.{}.1.", at));
    }
    const int place = has_below(tensors, block + "attentions.") ? 2 : 1;
    add(block + "upsamplers.0.conv", fmt::format("output_blocks.{}.{}.conv", at - 1, place));
  }
}

std::string OriginalUnetNames::of(const std::string& module) const {
  for (const auto& [from, to] : prefixes_) {
    if (!module.starts_with(from)) continue;
    std::string rest = module.substr(from.size());
    if (from.find("resnets.") == std::string::npos) return to + rest;
    for (const auto& [inner, original] : kResnet) {
      if (rest == inner) return to + std::string(original);
    }
    return {};
  }
  return {};
}

}  // namespace lathe::frontend
