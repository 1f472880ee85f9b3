#include "frontend/single_file_parts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::Dims;
using tensor::SourcePtr;

constexpr int64_t kMostBlocks = 100;

// The tensors below a prefix, by what is left of their names.
TensorMap below(const TensorMap& tensors, std::string_view prefix) {
  TensorMap part;
  for (auto it = tensors.lower_bound(prefix); it != tensors.end() && it->first.starts_with(prefix); ++it) {
    part.emplace(it->first.substr(prefix.size()), it->second);
  }
  return part;
}

bool has_below(const TensorMap& tensors, std::string_view prefix) {
  const auto it = tensors.lower_bound(prefix);
  return it != tensors.end() && it->first.starts_with(prefix);
}

const SourcePtr& get(const TensorMap& tensors, std::string_view name) {
  const auto it = tensors.find(name);
  if (it == tensors.end()) fail(ErrorCode::invalid_input, "missing tensor \"...{}\"", name);
  return it->second;
}

int64_t length(const TensorMap& tensors, std::string_view name, size_t axis) {
  const Dims& dims = get(tensors, name)->dims();
  if (axis >= dims.size()) {
    fail(ErrorCode::invalid_input, "tensor \"...{}\": expected at least {} axes, found {}", name, axis + 1,
         tensor::to_string(std::span(dims)));
  }
  return dims[axis];
}

// How many of prefix0., prefix1. ... there are.
int64_t count_numbered(const TensorMap& tensors, const std::string& prefix) {
  int64_t count = 0;
  while (count < kMostBlocks && has_below(tensors, fmt::format("{}{}.", prefix, count))) ++count;
  return count;
}

struct Rename {
  std::string_view from, to;
};
constexpr std::array<Rename, 6> kResnet = {{{"in_layers.0.", "norm1."},
                                            {"in_layers.2.", "conv1."},
                                            {"emb_layers.1.", "time_emb_proj."},
                                            {"out_layers.0.", "norm2."},
                                            {"out_layers.3.", "conv2."},
                                            {"skip_connection.", "conv_shortcut."}}};

// Moves tensors from one naming to the other, and knows what was left.
class Mover {
 public:
  explicit Mover(TensorMap from) : from_(std::move(from)) {}

  const TensorMap& rest() const { return from_; }
  bool has(std::string_view prefix) const { return has_below(from_, prefix); }

  // Everything below one prefix to another.
  void move(const std::string& from, const std::string& to) {
    for (auto it = from_.lower_bound(from); it != from_.end() && it->first.starts_with(from); it = from_.erase(it)) {
      to_.emplace(to + it->first.substr(from.size()), it->second);
    }
  }
  // A resnet of the UNet.
  void move_resnet(const std::string& from, const std::string& to) {
    for (const Rename& rename : kResnet) move(from + std::string(rename.from), to + std::string(rename.to));
  }
  void put(std::string name, SourcePtr source) { to_.emplace(std::move(name), std::move(source)); }
  SourcePtr take(std::string_view name) {
    const auto it = from_.find(name);
    if (it == from_.end()) return nullptr;
    SourcePtr source = it->second;
    from_.erase(it);
    return source;
  }

  TensorMap finish(std::string_view what) {
    if (!from_.empty()) {
      fail(ErrorCode::invalid_input, "tensor \"{}\" has no place in {}", from_.begin()->first, what);
    }
    return std::move(to_);
  }

 private:
  TensorMap from_, to_;
};

// One resolution of the UNet, as the blocks on the way down show it.
struct Level {
  int64_t channels = 0;
  int64_t layers = 0;
  int64_t depth = 0;  // transformer blocks; 0: no attention
};

int64_t depth_of(const TensorMap& tensors, const std::string& block) {
  return count_numbered(tensors, block + "1.transformer_blocks.");
}

// Walks input_blocks: a convolution, then resnets (with attention) and downsamplers.
std::vector<Level> move_down(Mover& mover) {
  std::vector<Level> levels(1);
  mover.move("input_blocks.0.0.", "conv_in.");
  for (int64_t i = 1; i < kMostBlocks && mover.has(fmt::format("input_blocks.{}.", i)); ++i) {
    const std::string block = fmt::format("input_blocks.{}.", i);
    const std::string to = fmt::format("down_blocks.{}.", levels.size() - 1);
    if (mover.has(block + "0.op.")) {
      mover.move(block + "0.op.", to + "downsamplers.0.conv.");
      levels.emplace_back();
      continue;
    }
    Level& level = levels.back();
    level.channels = length(mover.rest(), block + "0.out_layers.3.weight", 0);
    level.depth = depth_of(mover.rest(), block);
    mover.move_resnet(block + "0.", fmt::format("{}resnets.{}.", to, level.layers));
    mover.move(block + "1.", fmt::format("{}attentions.{}.", to, level.layers));
    ++level.layers;
  }
  return levels;
}

// Walks output_blocks, the coarsest first; returns whether each level attends.
std::vector<bool> move_up(Mover& mover, const std::vector<Level>& levels) {
  std::vector<bool> attention(levels.size(), false);
  int64_t at = 0;
  for (size_t up = 0; up < levels.size(); ++up) {
    const Level& level = levels[levels.size() - 1 - up];
    for (int64_t j = 0; j < level.layers + 1; ++j, ++at) {
      const std::string block = fmt::format("output_blocks.{}.", at);
      const std::string to = fmt::format("up_blocks.{}.", up);
      mover.move_resnet(block + "0.", fmt::format("{}resnets.{}.", to, j));
      for (const char* place : {"1.conv.", "2.conv."}) mover.move(block + place, to + "upsamplers.0.conv.");
      attention[up] = attention[up] || mover.has(block + "1.");
      mover.move(block + "1.", fmt::format("{}attentions.{}.", to, j));
    }
  }
  return attention;
}

Json names_of(const std::vector<bool>& attention, const char* plain, const char* attending) {
  Json names = Json::array();
  for (const bool attends : attention) names.push_back(attends ? attending : plain);
  return names;
}

// The width of the states that cross-attention reads: of the first attention there is.
int64_t context_of(const TensorMap& tensors) {
  constexpr std::string_view kKeys = ".transformer_blocks.0.attn2.to_k.weight";
  for (const auto& [name, source] : tensors) {
    if (name.ends_with(kKeys) && source->dims().size() == 2) return source->dims()[1];
  }
  fail(ErrorCode::invalid_input, "no tensor \"...{}\"", kKeys);
}

// "block_1." and its parts of the autoencoder.
void move_vae_resnet(Mover& mover, const std::string& from, const std::string& to) {
  mover.move(from + "nin_shortcut.", to + "conv_shortcut.");
  mover.move(from, to);
}

void move_vae_half(Mover& mover, const std::string& half, int64_t levels) {
  mover.move(half + "mid.attn_1.norm.", half + "mid_block.attentions.0.group_norm.");
  for (const auto& [from, to] : {Rename{"q.", "to_q."}, {"k.", "to_k."}, {"v.", "to_v."}, {"proj_out.", "to_out.0."}}) {
    mover.move(half + "mid.attn_1." + std::string(from), half + "mid_block.attentions.0." + std::string(to));
  }
  for (const int i : {0, 1}) {
    move_vae_resnet(mover, fmt::format("{}mid.block_{}.", half, i + 1),
                    fmt::format("{}mid_block.resnets.{}.", half, i));
  }
  const bool up = half == "decoder.";
  for (int64_t i = 0; i < levels; ++i) {
    const std::string from = fmt::format("{}{}.{}.", half, up ? "up" : "down", i);
    // The original numbers the decoder's levels from the finest.
    const std::string to = fmt::format("{}{}_blocks.{}.", half, up ? "up" : "down", up ? levels - 1 - i : i);
    for (int64_t j = 0; j < kMostBlocks && mover.has(fmt::format("{}block.{}.", from, j)); ++j) {
      move_vae_resnet(mover, fmt::format("{}block.{}.", from, j), fmt::format("{}resnets.{}.", to, j));
    }
    mover.move(from + (up ? "upsample.conv." : "downsample.conv."),
               to + (up ? "upsamplers.0.conv." : "downsamplers.0.conv."));
  }
  mover.move(half + "norm_out.", half + "conv_norm_out.");
  mover.move(half + "conv_out.", half + "conv_out.");
  mover.move(half + "conv_in.", half + "conv_in.");
}

Json clip_config(const char* class_name, int64_t vocab, int64_t width, int64_t inner, int64_t layers,
                 const char* activation, int64_t positions) {
  constexpr int64_t kHeadWidth = 64;
  return {{"architectures", Json::array({class_name})},
          {"vocab_size", vocab},
          {"hidden_size", width},
          {"intermediate_size", inner},
          {"num_hidden_layers", layers},
          {"num_attention_heads", std::max<int64_t>(1, width / kHeadWidth)},
          {"max_position_embeddings", positions},
          {"hidden_act", activation},
          {"layer_norm_eps", 1e-5},
          {"eos_token_id", 2}};  // the largest id
}

// Rows [part * n, (part + 1) * n) of three.
SourcePtr third_of(const SourcePtr& joined, int64_t part) {
  const Dims& dims = joined->dims();
  if (dims.empty() || dims[0] % 3 != 0) {
    fail(ErrorCode::invalid_input, "tensor \"{}\": expected queries, keys and values, found {}", joined->origin(),
         tensor::to_string(std::span(dims)));
  }
  const int64_t rows = dims[0] / 3, first = part * rows;
  const auto shifted = [first](int64_t row) { return first + row; };
  if (dims.size() > 1) return tensor::row_mapped_source(joined, {rows, dims[1]}, shifted);
  const SourcePtr column = tensor::reshaped_source(joined, {dims[0], 1});
  return tensor::reshaped_source(tensor::row_mapped_source(column, {rows, 1}, shifted), {rows});
}

}  // namespace

NamedPart unet_of_single_file(const TensorMap& tensors, bool two_encoders) {
  Mover mover(below(tensors, kSingleFileUNet));
  const int64_t in_channels = length(mover.rest(), "input_blocks.0.0.weight", 1);
  const int64_t out_channels = length(mover.rest(), "out.2.weight", 0);
  const int64_t context = context_of(mover.rest());
  mover.move("time_embed.0.", "time_embedding.linear_1.");
  mover.move("time_embed.2.", "time_embedding.linear_2.");
  int64_t added = 0;
  if (two_encoders) {
    added = length(mover.rest(), "label_emb.0.0.weight", 1);
    mover.move("label_emb.0.0.", "add_embedding.linear_1.");
    mover.move("label_emb.0.2.", "add_embedding.linear_2.");
  }
  const std::vector<Level> levels = move_down(mover);
  mover.move_resnet("middle_block.0.", "mid_block.resnets.0.");
  mover.move("middle_block.1.", "mid_block.attentions.0.");
  mover.move_resnet("middle_block.2.", "mid_block.resnets.1.");
  const std::vector<bool> up = move_up(mover, levels);
  mover.move("out.0.", "conv_norm_out.");
  mover.move("out.2.", "conv_out.");

  constexpr int64_t kFirstContext = 768, kHeads = 8, kHeadWidth = 64;
  Json channels = Json::array(), layers = Json::array(), depth = Json::array(), heads = Json::array();
  std::vector<bool> down;
  for (const Level& level : levels) {
    channels.push_back(level.channels);
    layers.push_back(level.layers);
    depth.push_back(std::max<int64_t>(1, level.depth));
    const bool eight = context == kFirstContext && !two_encoders;
    heads.push_back(eight ? kHeads : std::max<int64_t>(1, level.channels / kHeadWidth));
    down.push_back(level.depth > 0);
  }
  // The middle is as deep as the coarsest level, also where that does not attend.
  NamedPart part;
  part.tensors = mover.finish("a UNet");
  if (const int64_t middle = count_numbered(part.tensors, "mid_block.attentions.0.transformer_blocks."); middle > 0) {
    depth.back() = middle;
  }
  part.config = {{"_class_name", "UNet2DConditionModel"},
                 {"in_channels", in_channels},
                 {"out_channels", out_channels},
                 {"block_out_channels", channels},
                 {"layers_per_block", layers},
                 {"transformer_layers_per_block", depth},
                 {"attention_head_dim", heads},
                 {"cross_attention_dim", context},
                 {"down_block_types", names_of(down, "DownBlock2D", "CrossAttnDownBlock2D")},
                 {"up_block_types", names_of(up, "UpBlock2D", "CrossAttnUpBlock2D")}};
  if (two_encoders) {
    part.config["addition_embed_type"] = "text_time";
    part.config["addition_time_embed_dim"] = 256;
    part.config["projection_class_embeddings_input_dim"] = added;
  }
  return part;
}

NamedPart vae_of_single_file(const TensorMap& tensors, double scaling_factor) {
  Mover mover(below(tensors, kSingleFileVae));
  Json channels = Json::array(), down = Json::array(), up = Json::array();
  const int64_t levels = count_numbered(mover.rest(), "encoder.down.");
  for (int64_t i = 0; i < levels; ++i) {
    channels.push_back(length(mover.rest(), fmt::format("encoder.down.{}.block.0.conv2.weight", i), 0));
    down.push_back("DownEncoderBlock2D");
    up.push_back("UpDecoderBlock2D");
  }
  NamedPart part;
  part.config = {{"_class_name", "AutoencoderKL"},
                 {"block_out_channels", channels},
                 {"down_block_types", down},
                 {"up_block_types", up},
                 {"in_channels", length(mover.rest(), "encoder.conv_in.weight", 1)},
                 {"out_channels", length(mover.rest(), "decoder.conv_out.weight", 0)},
                 {"latent_channels", length(mover.rest(), "decoder.conv_in.weight", 1)},
                 {"layers_per_block", count_numbered(mover.rest(), "encoder.down.0.block.")},
                 {"scaling_factor", scaling_factor}};
  move_vae_half(mover, "encoder.", levels);
  move_vae_half(mover, "decoder.", levels);
  mover.move("quant_conv.", "quant_conv.");
  mover.move("post_quant_conv.", "post_quant_conv.");
  // Losses and discriminators of training.
  mover.move("loss.", "loss.");
  part.tensors = mover.finish("an autoencoder");
  std::erase_if(part.tensors, [](const auto& entry) { return entry.first.starts_with("loss."); });
  return part;
}

NamedPart clip_text_of_single_file(const TensorMap& tensors, const std::string& prefix) {
  NamedPart part;
  part.tensors = below(tensors, prefix);
  const TensorMap& clip = part.tensors;
  const std::string text = has_below(clip, "text_model.") ? "text_model." : "";
  part.config = clip_config("CLIPTextModel", length(clip, text + "embeddings.token_embedding.weight", 0),
                            length(clip, text + "embeddings.token_embedding.weight", 1),
                            length(clip, text + "encoder.layers.0.mlp.fc1.weight", 0),
                            count_numbered(clip, text + "encoder.layers."), "quick_gelu",
                            length(clip, text + "embeddings.position_embedding.weight", 0));
  return part;
}

NamedPart open_clip_text(const TensorMap& tensors, const std::string& prefix, bool drop_last, bool projection) {
  Mover mover(below(tensors, prefix));
  const TensorMap& rest = mover.rest();
  const int64_t stored = count_numbered(rest, "transformer.resblocks.");
  const int64_t layers = drop_last ? stored - 1 : stored;
  if (layers < 1) fail(ErrorCode::invalid_input, "a text encoder of {} layers below \"{}\"", stored, prefix);
  NamedPart part;
  part.config = clip_config(projection ? "CLIPTextModelWithProjection" : "CLIPTextModel",
                            length(rest, "token_embedding.weight", 0), length(rest, "token_embedding.weight", 1),
                            length(rest, "transformer.resblocks.0.mlp.c_fc.weight", 0), layers, "gelu",
                            length(rest, "positional_embedding", 0));
  mover.put("text_model.embeddings.position_embedding.weight", mover.take("positional_embedding"));
  mover.move("token_embedding.", "text_model.embeddings.token_embedding.");
  mover.move("ln_final.", "text_model.final_layer_norm.");
  for (int64_t i = 0; i < stored; ++i) {
    const std::string from = fmt::format("transformer.resblocks.{}.", i);
    const std::string to = fmt::format("text_model.encoder.layers.{}.", i);
    for (const char* kind : {"weight", "bias"}) {
      const SourcePtr joined = mover.take(fmt::format("{}attn.in_proj_{}", from, kind));
      if (!joined) fail(ErrorCode::invalid_input, "missing tensor \"{}{}attn.in_proj_{}\"", prefix, from, kind);
      for (int64_t j = 0; j < 3; ++j) {
        mover.put(fmt::format("{}self_attn.{}_proj.{}", to, "qkv"[j], kind), third_of(joined, j));
      }
    }
    for (const auto& [a, b] : {Rename{"ln_1.", "layer_norm1."},
                               {"ln_2.", "layer_norm2."},
                               {"attn.out_proj.", "self_attn.out_proj."},
                               {"mlp.c_fc.", "mlp.fc1."},
                               {"mlp.c_proj.", "mlp.fc2."}}) {
      mover.move(from + std::string(a), to + std::string(b));
    }
  }
  // [width, projected], used as x P.
  const SourcePtr matrix = mover.take("text_projection");
  if (projection) {
    if (!matrix) fail(ErrorCode::invalid_input, "missing tensor \"{}text_projection\"", prefix);
    mover.put("text_projection.weight", tensor::transposed_source(matrix));
  }
  mover.take("logit_scale");
  mover.take("attn_mask");
  part.tensors = mover.finish("a text encoder");
  const std::string last = fmt::format("text_model.encoder.layers.{}.", stored - 1);
  if (drop_last) std::erase_if(part.tensors, [&](const auto& entry) { return entry.first.starts_with(last); });
  return part;
}

}  // namespace lathe::frontend
