// The autoencoder of latent diffusion: diffusers' AutoencoderKL, as two graphs.
// Source: "High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1; the checkpoint's config.
//   vae_decoder: latent_sample [batch, latents, h, w] (unscaled) -> sample [batch, 3, 8 h, 8 w], -1 to 1
//   vae_encoder: sample [batch, 3, H, W] -> latent_parameters [batch, 2 latents, H / 8, W / 8]: mean and log variance
#include "base/error.h"
#include "frontend/component.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

constexpr double kEpsilon = 1e-6;

struct Autoencoder {
  int64_t in_channels, out_channels, latents;
  std::vector<int64_t> channels;  // of each level, finest first
  int64_t layers, groups;
  bool mid_attention, quant_conv, post_quant_conv;
};

Autoencoder read_config(const Json& config) {
  refuse_unless(config, "act_fn", "silu");
  Autoencoder vae;
  const Json& channels = get_member(config, "block_out_channels");
  const int64_t levels =
      check_size("block_out_channels (how many)", channels.is_array() ? int64_t(channels.size()) : 0, 16);
  vae.channels = get_ints(config, "block_out_channels", levels);
  for (const int64_t count : vae.channels) check_size("block_out_channels", count, 1 << 16);
  for (const auto& [key, known] :
       {std::pair{"down_block_types", "DownEncoderBlock2D"}, {"up_block_types", "UpDecoderBlock2D"}}) {
    const auto names = get_strings(config, key);
    for (const std::string& name : names) {
      if (name != known) fail(ErrorCode::unsupported, "config: {} has \"{}\" (known: {})", key, name, known);
    }
    if (int64_t(names.size()) != levels) {
      fail(ErrorCode::invalid_input, "config: {} has {} entries, block_out_channels {}", key, names.size(), levels);
    }
  }
  vae.in_channels = check_size("in_channels", find_int(config, "in_channels").value_or(3), 1 << 12);
  vae.out_channels = check_size("out_channels", find_int(config, "out_channels").value_or(3), 1 << 12);
  vae.latents = check_size("latent_channels", find_int(config, "latent_channels").value_or(4), 1 << 12);
  vae.layers = check_size("layers_per_block", find_int(config, "layers_per_block").value_or(1), 100);
  vae.groups = check_size("norm_num_groups", find_int(config, "norm_num_groups").value_or(32), 1 << 16);
  vae.mid_attention = find_bool(config, "mid_block_add_attention").value_or(true);
  vae.quant_conv = find_bool(config, "use_quant_conv").value_or(true);
  vae.post_quant_conv = find_bool(config, "use_post_quant_conv").value_or(true);
  return vae;
}

Value build_vae_resnet(const Place& place, const Autoencoder& vae, Value x, int64_t inputs, int64_t outputs) {
  return build_resnet(place, x, {}, {.inputs = inputs, .outputs = outputs, .groups = vae.groups, .epsilon = kEpsilon});
}

// One head over all pixels. Checkpoints of 2022 call the matrices otherwise.
Value build_vae_attention(const Place& place, const Autoencoder& vae, Value x, int64_t channels) {
  AttentionShape shape{.width = channels, .heads = 1, .context_width = channels, .bias = Bias::required};
  if (place.weights.has("query.weight")) {
    shape.q = "query";
    shape.k = "key";
    shape.v = "value";
    shape.out = "proj_attn";
  }
  const Value tokens =
      build_tokens(place.b, build_group_norm(place.in("group_norm"), x, channels, vae.groups, kEpsilon), channels);
  return place.b.add(build_from_tokens(place.b, build_attention(place, tokens, tokens, shape), x), x);
}

Value build_middle(const Place& block, const Autoencoder& vae, Value x, int64_t channels) {
  x = build_vae_resnet(block.in("resnets.0"), vae, x, channels, channels);
  if (vae.mid_attention) x = build_vae_attention(block.in("attentions.0"), vae, x, channels);
  return build_vae_resnet(block.in("resnets.1"), vae, x, channels, channels);
}

Value build_out(const Place& place, const Autoencoder& vae, Value x, int64_t channels, int64_t outputs) {
  x = build_silu(place.b, build_group_norm(place.in("conv_norm_out"), x, channels, vae.groups, kEpsilon));
  return build_conv(place.in("conv_out"), x, {.inputs = channels, .outputs = outputs});
}

Value build_point_conv(const Place& place, Value x, int64_t channels) {
  return build_conv(place, x, {.inputs = channels, .outputs = channels, .kernel = 1, .pads = {0, 0, 0, 0}});
}

ir::Graph build_decoder_graph(const Autoencoder& vae, const NamedWeights& weights) {
  ir::Graph graph;
  const Place top{Builder(graph), weights};
  Value x = graph.add_input("latent_sample", {weights.dtype(),
                                              {Dim::symbol("batch_size"), vae.latents, Dim::symbol("latent_height"),
                                               Dim::symbol("latent_width")},
                                              {}});
  if (vae.post_quant_conv) x = build_point_conv(top.in("post_quant_conv"), x, vae.latents);
  const Place decoder = top.in("decoder");
  int64_t current = vae.channels.back();
  x = build_conv(decoder.in("conv_in"), x, {.inputs = vae.latents, .outputs = current});
  x = build_middle(decoder.in("mid_block"), vae, x, current);
  const size_t levels = vae.channels.size();
  for (size_t i = 0; i < levels; ++i) {
    const Place block = decoder.in("up_blocks.{}", i);
    const int64_t channels = vae.channels[levels - 1 - i];
    for (int64_t j = 0; j < vae.layers + 1; ++j) {
      x = build_vae_resnet(block.in("resnets.{}", j), vae, x, current, channels);
      current = channels;
    }
    if (i + 1 == levels) break;
    x = build_conv(block.in("upsamplers.0.conv"), build_upsampled(block.b, x),
                   {.inputs = channels, .outputs = channels});
  }
  graph.add_output(build_out(decoder, vae, x, current, vae.out_channels), "sample");
  return graph;
}

ir::Graph build_encoder_graph(const Autoencoder& vae, const NamedWeights& weights) {
  ir::Graph graph;
  const Place top{Builder(graph), weights};
  Value x = graph.add_input("sample", {weights.dtype(),
                                       {Dim::symbol("batch_size"), vae.in_channels, Dim::symbol("sample_height"),
                                        Dim::symbol("sample_width")},
                                       {}});
  const Place encoder = top.in("encoder");
  int64_t current = vae.channels[0];
  x = build_conv(encoder.in("conv_in"), x, {.inputs = vae.in_channels, .outputs = current});
  for (size_t i = 0; i < vae.channels.size(); ++i) {
    const Place block = encoder.in("down_blocks.{}", i);
    const int64_t channels = vae.channels[i];
    for (int64_t j = 0; j < vae.layers; ++j) {
      x = build_vae_resnet(block.in("resnets.{}", j), vae, x, current, channels);
      current = channels;
    }
    if (i + 1 == vae.channels.size()) break;
    x = build_conv(block.in("downsamplers.0.conv"), x,
                   {.inputs = channels, .outputs = channels, .stride = 2, .pads = {0, 0, 1, 1}});
  }
  x = build_middle(encoder.in("mid_block"), vae, x, current);
  x = build_out(encoder, vae, x, current, 2 * vae.latents);
  if (vae.quant_conv) x = build_point_conv(top.in("quant_conv"), x, 2 * vae.latents);
  graph.add_output(x, "latent_parameters");
  return graph;
}

GraphMap build(const ComponentInput& input, const ComponentOptions& options) {
  const Autoencoder vae = read_config(input.config);
  const NamedWeights weights(input.tensors, options.dtype);
  GraphMap graphs;
  graphs.emplace(input.role + "_decoder", build_decoder_graph(vae, weights));
  graphs.emplace(input.role + "_encoder", build_encoder_graph(vae, weights));
  weights.check_all_used(nullptr);
  return graphs;
}

}  // namespace

const Component& autoencoder_kl_component() {
  static constexpr std::string_view kNames[] = {"AutoencoderKL"};
  static constexpr Component kAutoencoder = {.class_names = kNames, .build = build};
  return kAutoencoder;
}

}  // namespace lathe::frontend
