// The UNet of Stable Diffusion 1.x, 2.x and XL: diffusers' UNet2DConditionModel.
// Source: "High-Resolution Image Synthesis with Latent Diffusion Models", section 3; the checkpoint's config.
#include <algorithm>

#include "base/error.h"
#include "frontend/component.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

struct UNet {
  int64_t in_channels, out_channels;
  std::vector<int64_t> channels;  // of each level
  std::vector<int64_t> layers;    // resnets of each level on the way down; one more on the way up
  std::vector<int64_t> heads, depth, context;
  std::vector<bool> down_attention, up_attention;  // up_attention: from the coarsest level
  std::vector<bool> only_cross;
  bool mid = true, mid_attention = true;
  int64_t groups;
  double epsilon;
  int64_t time_width;
  int64_t downsample_padding;
  bool time_scale_shift;
  double mid_divisor, output_divisor;
  int64_t conv_in, conv_out;  // kernels
  SinusoidShape sinusoid;
  int64_t condition_width;  // of timestep_cond; 0: none
  bool text_time;           // pooled text and sizes are added to the time embedding (SDXL)
  int64_t text_time_width, added_sinusoid, added_width;
};

// What other members of the family do, none of which Stable Diffusion has.
void refuse_variants(const Json& config) {
  refuse_unless(config, "act_fn", "silu");
  refuse_unless(config, "center_input_sample", false);
  refuse_unless(config, "dual_cross_attention", false);
  refuse_unless(config, "class_embed_type", nullptr);
  refuse_unless(config, "num_class_embeds", nullptr);
  refuse_unless(config, "encoder_hid_dim_type", nullptr);
  refuse_unless(config, "encoder_hid_dim", nullptr);
  refuse_unless(config, "resnet_skip_time_act", false);
  refuse_unless(config, "time_embedding_type", "positional");
  refuse_unless(config, "time_embedding_act_fn", nullptr);
  refuse_unless(config, "timestep_post_act", nullptr);
  refuse_unless(config, "attention_type", "default");
  refuse_unless(config, "cross_attention_norm", nullptr);
  refuse_unless(config, "num_attention_heads", nullptr);
  refuse_unless(config, "reverse_transformer_layers_per_block", nullptr);
  refuse_unless(config, "mid_block_only_cross_attention", false);
}

std::vector<bool> find_attention(const Json& config, std::string_view key, std::string_view plain,
                                 std::string_view attending) {
  std::vector<bool> attention;
  for (const std::string& name : get_strings(config, key)) {
    if (name != plain && name != attending) {
      fail(ErrorCode::unsupported, "config: {} has \"{}\" (known: {}, {})", key, name, plain, attending);
    }
    attention.push_back(name == attending);
  }
  return attention;
}

void read_middle(const Json& config, UNet& unet) {
  const Json* given = find_member(config, "mid_block_type");
  if (config.contains("mid_block_type") && !given) {
    unet.mid = false;
    return;
  }
  const std::string name = given ? get_string(config, "mid_block_type") : "UNetMidBlock2DCrossAttn";
  if (name != "UNetMidBlock2DCrossAttn" && name != "UNetMidBlock2D") {
    fail(ErrorCode::unsupported, "config: mid_block_type \"{}\" (known: UNetMidBlock2DCrossAttn, UNetMidBlock2D)",
         name);
  }
  unet.mid_attention = name == "UNetMidBlock2DCrossAttn";
}

void read_time(const Json& config, UNet& unet) {
  unet.time_width = find_int(config, "time_embedding_dim").value_or(4 * unet.channels[0]);
  unet.sinusoid = {.width = unet.channels[0],
                   .cosine_first = find_bool(config, "flip_sin_to_cos").value_or(true),
                   .frequency_shift = find_number(config, "freq_shift").value_or(0)};
  unet.condition_width = find_int(config, "time_cond_proj_dim").value_or(0);
  const std::string added = find_string(config, "addition_embed_type").value_or("");
  unet.text_time = added == "text_time";
  if (!added.empty() && !unet.text_time) {
    fail(ErrorCode::unsupported, "config: addition_embed_type \"{}\" is not supported (text_time)", added);
  }
  if (!unet.text_time) return;
  unet.added_sinusoid = check_size("addition_time_embed_dim", get_int(config, "addition_time_embed_dim"), 1 << 16);
  unet.added_width = check_size("projection_class_embeddings_input_dim",
                                get_int(config, "projection_class_embeddings_input_dim"), 1 << 20);
}

UNet read_config(const Json& config) {
  refuse_variants(config);
  UNet unet;
  const Json& channels = get_member(config, "block_out_channels");
  const int64_t levels = channels.is_array() ? int64_t(channels.size()) : 0;
  check_size("block_out_channels (how many)", levels, 16);
  unet.channels = get_ints(config, "block_out_channels", levels);
  for (const int64_t count : unet.channels) check_size("block_out_channels", count, 1 << 16);
  unet.in_channels = check_size("in_channels", find_int(config, "in_channels").value_or(4), 1 << 12);
  unet.out_channels = check_size("out_channels", find_int(config, "out_channels").value_or(4), 1 << 12);
  unet.layers = find_ints(config, "layers_per_block", levels, 2);
  unet.heads = find_ints(config, "attention_head_dim", levels, 8);  // numbers of heads, whatever the key says
  unet.depth = find_ints(config, "transformer_layers_per_block", levels, 1);
  unet.context = find_ints(config, "cross_attention_dim", levels, 1280);
  unet.down_attention = find_attention(config, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D");
  unet.up_attention = find_attention(config, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D");
  for (const auto& [key, types] :
       {std::pair{"down_block_types", &unet.down_attention}, {"up_block_types", &unet.up_attention}}) {
    if (int64_t(types->size()) != levels) {
      fail(ErrorCode::invalid_input, "config: {} has {} entries, block_out_channels {}", key, types->size(), levels);
    }
  }
  for (size_t i = 0; i < unet.channels.size(); ++i) {
    check_size("layers_per_block", unet.layers[i], 100);
    check_size("transformer_layers_per_block", unet.depth[i], 100);
    check_size("attention_head_dim", unet.heads[i], unet.channels[i]);
    check_size("cross_attention_dim", unet.context[i], 1 << 16);
  }
  const Json* only = find_member(config, "only_cross_attention");
  unet.only_cross.assign(size_t(levels), only && only->is_boolean() && only->get<bool>());
  if (only && !only->is_boolean()) {
    fail(ErrorCode::unsupported, "config: only_cross_attention = {} is not supported (true, false)", only->dump());
  }
  read_middle(config, unet);
  read_time(config, unet);
  unet.groups = check_size("norm_num_groups", find_int(config, "norm_num_groups").value_or(32), 1 << 16);
  unet.epsilon = find_number(config, "norm_eps").value_or(1e-5);
  unet.downsample_padding = find_int(config, "downsample_padding").value_or(1);
  const std::string shift = find_string(config, "resnet_time_scale_shift").value_or("default");
  unet.time_scale_shift = shift == "scale_shift";
  if (shift != "default" && shift != "scale_shift") {
    fail(ErrorCode::unsupported, "config: resnet_time_scale_shift \"{}\" is not supported (default, scale_shift)",
         shift);
  }
  unet.mid_divisor = find_number(config, "mid_block_scale_factor").value_or(1);
  unet.output_divisor = find_number(config, "resnet_out_scale_factor").value_or(1);
  unet.conv_in = check_size("conv_in_kernel", find_int(config, "conv_in_kernel").value_or(3), 31);
  unet.conv_out = check_size("conv_out_kernel", find_int(config, "conv_out_kernel").value_or(3), 31);
  return unet;
}

// What every block sees.
struct Step {
  Value time;     // [batch or 1, time_width], SiLU applied
  Value context;  // [batch, tokens, width]
};

Value build_time(const Place& place, const UNet& unet, DType dtype) {
  ir::Graph& graph = place.b.graph();
  const Value timestep = graph.add_input("timestep", {DType::f32, {}, {}});
  Value sines = place.b.cast(build_sinusoids(place.b, timestep, unet.sinusoid), dtype);
  if (unet.condition_width > 0) {
    const Value condition =
        graph.add_input("timestep_cond", {dtype, {Dim::symbol("batch_size"), unet.condition_width}, {}});
    sines = place.b.add(sines, build_linear(place.in("time_embedding.cond_proj"), condition, unet.condition_width,
                                            unet.sinusoid.width, Bias::none));
  }
  const Value first = build_linear(place.in("time_embedding.linear_1"), sines, unet.sinusoid.width, unet.time_width);
  return build_linear(place.in("time_embedding.linear_2"), build_silu(place.b, first), unet.time_width,
                      unet.time_width);
}

// SDXL: the pooled text and six numbers (original size, crop, target size), each as sinusoids.
Value build_text_time(const Place& place, const UNet& unet, DType dtype) {
  constexpr int64_t kNumbers = 6;
  const Builder& b = place.b;
  const int64_t text_width = unet.added_width - kNumbers * unet.added_sinusoid;
  check_size("projection_class_embeddings_input_dim less that of the sizes", text_width, 1 << 20);
  const Dim batch = Dim::symbol("batch_size");
  const Value text = b.graph().add_input("text_embeds", {dtype, {batch, text_width}, {}});
  const Value numbers = b.graph().add_input("time_ids", {DType::f32, {batch, kNumbers}, {}});
  SinusoidShape sinusoid = unet.sinusoid;
  sinusoid.width = unet.added_sinusoid;
  const Value sines =
      b.cast(b.reshape(build_sinusoids(b, numbers, sinusoid), {-1, kNumbers * unet.added_sinusoid}), dtype);
  const Value joined = b.concat({text, sines}, 1);
  const Value first = build_linear(place.in("add_embedding.linear_1"), joined, unet.added_width, unet.time_width);
  return build_linear(place.in("add_embedding.linear_2"), build_silu(b, first), unet.time_width, unet.time_width);
}

class UNetBuilder {
 public:
  UNetBuilder(const UNet& unet, Step step) : unet_(unet), step_(step) {}

  Value resnet(const Place& place, Value x, int64_t inputs, int64_t outputs, double divisor) const {
    return build_resnet(place, x, step_.time,
                        {.inputs = inputs,
                         .outputs = outputs,
                         .groups = unet_.groups,
                         .epsilon = unet_.epsilon,
                         .time_width = unet_.time_width,
                         .time_scale_shift = unet_.time_scale_shift,
                         .output_divisor = divisor});
  }

  Value attend(const Place& place, Value x, size_t level) const {
    return build_spatial_transformer(place, x, step_.context,
                                     {.channels = unet_.channels[level],
                                      .heads = unet_.heads[level],
                                      .depth = unet_.depth[level],
                                      .context_width = unet_.context[level],
                                      .groups = unet_.groups,
                                      .only_cross_attention = unet_.only_cross[level]});
  }

  // Down, mid, up; x [batch, channels[0], height, width] in and out.
  Value build(const Place& place, Value x) {
    skips_ = {{x, unet_.channels[0]}};
    for (size_t level = 0; level < unet_.channels.size(); ++level) x = down(place, x, level);
    if (unet_.mid) x = middle(place, x);
    for (size_t level = unet_.channels.size(); level-- > 0;) x = up(place, x, level);
    return x;
  }

 private:
  struct Skip {
    Value value;
    int64_t channels;
  };

  Value down(const Place& place, Value x, size_t level) {
    const Place block = place.in("down_blocks.{}", level);
    const int64_t channels = unet_.channels[level];
    for (int64_t i = 0; i < unet_.layers[level]; ++i) {
      const int64_t inputs = i == 0 && level > 0 ? unet_.channels[level - 1] : channels;
      x = resnet(block.in("resnets.{}", i), x, inputs, channels, unet_.output_divisor);
      if (unet_.down_attention[level]) x = attend(block.in("attentions.{}", i), x, level);
      skips_.push_back({x, channels});
    }
    if (level + 1 == unet_.channels.size()) return x;
    const int64_t pad = unet_.downsample_padding;
    // diffusers pads the right and lower side where it pads none by convolution.
    const std::vector<int64_t> pads =
        pad == 0 ? std::vector<int64_t>{0, 0, 1, 1} : std::vector<int64_t>{pad, pad, pad, pad};
    x = build_conv(block.in("downsamplers.0.conv"), x,
                   {.inputs = channels, .outputs = channels, .stride = 2, .pads = pads});
    skips_.push_back({x, channels});
    return x;
  }

  Value middle(const Place& place, Value x) const {
    const Place block = place.in("mid_block");
    const size_t level = unet_.channels.size() - 1;
    const int64_t channels = unet_.channels[level];
    x = resnet(block.in("resnets.0"), x, channels, channels, unet_.mid_divisor);
    if (!unet_.mid_attention) return x;
    x = attend(block.in("attentions.0"), x, level);
    return resnet(block.in("resnets.1"), x, channels, channels, unet_.mid_divisor);
  }

  Value up(const Place& place, Value x, size_t level) {
    const size_t from_coarsest = unet_.channels.size() - 1 - level;
    const Place block = place.in("up_blocks.{}", from_coarsest);
    const int64_t channels = unet_.channels[level];
    int64_t current = from_coarsest == 0 ? channels : unet_.channels[level + 1];
    for (int64_t i = 0; i < unet_.layers[level] + 1; ++i) {
      const Skip skip = skips_.back();
      skips_.pop_back();
      x = resnet(block.in("resnets.{}", i), block.b.concat({x, skip.value}, 1), current + skip.channels, channels,
                 unet_.output_divisor);
      current = channels;
      if (unet_.up_attention[from_coarsest]) x = attend(block.in("attentions.{}", i), x, level);
    }
    if (level == 0) return x;
    // To the size of the next skip, which is not twice this one where a length was odd.
    x = build_upsampled_like(block.b, x, skips_.back().value);
    return build_conv(block.in("upsamplers.0.conv"), x, {.inputs = channels, .outputs = channels});
  }

  const UNet& unet_;
  Step step_;
  std::vector<Skip> skips_;
};

Value build_square_conv(const Place& place, Value x, int64_t inputs, int64_t outputs, int64_t kernel) {
  const int64_t pad = (kernel - 1) / 2;
  return build_conv(place, x, {.inputs = inputs, .outputs = outputs, .kernel = kernel, .pads = {pad, pad, pad, pad}});
}

GraphMap build(const ComponentInput& input, const ComponentOptions& options) {
  const UNet unet = read_config(input.config);
  if (std::any_of(unet.context.begin(), unet.context.end(), [&](int64_t width) { return width != unet.context[0]; })) {
    fail(ErrorCode::unsupported, "config: cross_attention_dim differs from level to level");
  }
  GraphMap graphs;
  ir::Graph& graph = graphs.emplace(input.role, ir::Graph("main")).first->second;
  const NamedWeights weights(input.tensors, options.dtype);
  const Place place{Builder(graph), weights};
  const Dim batch = Dim::symbol("batch_size");
  const Value sample = graph.add_input(
      "sample", {options.dtype, {batch, unet.in_channels, Dim::symbol("height"), Dim::symbol("width")}, {}});
  Value time = build_time(place, unet, options.dtype);
  Step step;
  step.context = graph.add_input("encoder_hidden_states",
                                 {options.dtype, {batch, Dim::symbol("sequence_length"), unet.context[0]}, {}});
  if (unet.text_time) time = place.b.add(time, build_text_time(place, unet, options.dtype));
  step.time = build_silu(place.b, time);
  Value x = build_square_conv(place.in("conv_in"), sample, unet.in_channels, unet.channels[0], unet.conv_in);
  x = UNetBuilder(unet, step).build(place, x);
  x = build_silu(place.b, build_group_norm(place.in("conv_norm_out"), x, unet.channels[0], unet.groups, unet.epsilon));
  x = build_square_conv(place.in("conv_out"), x, unet.channels[0], unet.out_channels, unet.conv_out);
  graph.add_output(x, "out_sample");
  weights.check_all_used(nullptr);
  return graphs;
}

}  // namespace

const Component& unet_2d_condition_component() {
  static constexpr std::string_view kNames[] = {"UNet2DConditionModel"};
  static constexpr Component kUNet = {.class_names = kNames, .build = build};
  return kUNet;
}

}  // namespace lathe::frontend
