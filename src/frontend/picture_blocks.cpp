#include "frontend/picture_blocks.h"

#include <cmath>

#include "base/error.h"

namespace lathe::frontend {
namespace {

using tensor::DType;

Value find_bias(const Place& place, int64_t outputs, Bias bias) {
  if (bias == Bias::none) return {};
  if (bias == Bias::stored) return place.weights.find(place.b, "bias", {outputs});
  return place.weights.get(place.b, "bias", {outputs});
}

// LayerNorm, attention, residual.
Value build_attended(const Place& block, std::string_view norm, std::string_view attention, Value x, Value context,
                     const AttentionShape& shape) {
  const Value normed = build_layer_norm(block.in(norm), x, shape.width, 1e-5);
  return block.b.add(build_attention(block.in(attention), normed, context ? context : normed, shape), x);
}

// Gaussian error linear unit of one half times the other: "GLU Variants Improve Transformer".
Value build_geglu_mlp(const Place& place, Value x, int64_t width) {
  const int64_t inner = 4 * width;
  const Value both = build_linear(place.in("net.0.proj"), x, width, 2 * inner);
  const auto halves = place.b.nodes("Split", {both, place.b.ints({inner, inner})}, {{"axis", int64_t{-1}}}, 2, "split");
  const Value gated = place.b.mul(halves[0], place.b.node("Gelu", {halves[1]}, {}, "gelu"));
  return build_linear(place.in("net.2"), gated, inner, width);
}

Value build_transformer_block(const Place& block, Value x, Value context, const TransformerShape& shape) {
  AttentionShape attention{.width = shape.channels, .heads = shape.heads, .context_width = shape.channels};
  if (shape.only_cross_attention) attention.context_width = shape.context_width;
  x = build_attended(block, "norm1", "attn1", x, shape.only_cross_attention ? context : Value(), attention);
  if (shape.context_width > 0) {
    attention.context_width = shape.context_width;
    x = build_attended(block, "norm2", "attn2", x, context, attention);
  }
  const Value normed = build_layer_norm(block.in("norm3"), x, shape.channels, 1e-5);
  return block.b.add(build_geglu_mlp(block.in("ff"), normed, shape.channels), x);
}

// By Gather: ONNX Runtime's shape inference of opsets 13 and 14 takes a Slice of lengths for empty.
Value lengths_of(const Builder& b, Value x, std::vector<int64_t> axes) {
  return b.node("Gather", {b.node("Shape", {x}), b.ints(std::move(axes))}, {{"axis", int64_t{0}}}, "lengths");
}

}  // namespace

Value build_linear(const Place& place, Value x, int64_t inputs, int64_t outputs, Bias bias) {
  const Value weight = place.weights.get(place.b, "weight", {outputs, inputs});
  return place.b.linear(x, weight, find_bias(place, outputs, bias));
}

Value build_conv(const Place& place, Value x, const ConvShape& shape) {
  const Value weight = place.weights.get(place.b, "weight", {shape.outputs, shape.inputs, shape.kernel, shape.kernel});
  std::vector<Value> inputs = {x, weight};
  if (const Value bias = find_bias(place, shape.outputs, shape.bias)) inputs.push_back(bias);
  return place.b.node("Conv", std::move(inputs),
                      {{"kernel_shape", std::vector<int64_t>{shape.kernel, shape.kernel}},
                       {"strides", std::vector<int64_t>{shape.stride, shape.stride}},
                       {"pads", shape.pads}});
}

Value build_group_norm(const Place& place, Value x, int64_t channels, int64_t groups, double epsilon) {
  return place.b.node(
      "GroupNormalization",
      {x, place.weights.get(place.b, "weight", {channels}), place.weights.get(place.b, "bias", {channels})},
      {{"num_groups", groups}, {"epsilon", epsilon}});
}

Value build_layer_norm(const Place& place, Value x, int64_t width, double epsilon) {
  return place.b.node("LayerNormalization",
                      {x, place.weights.get(place.b, "weight", {width}), place.weights.get(place.b, "bias", {width})},
                      {{"axis", int64_t{-1}}, {"epsilon", epsilon}});
}

Value build_silu(const Builder& b, Value x) {
  return b.node("Swish", {x}, {}, "silu");
}

Value build_resnet(const Place& place, Value x, Value time, const ResnetShape& shape) {
  const Builder& b = place.b;
  // Before the rest: then nobody reads x behind the first norm, which takes its place. In the decoder's last level that
  // is a fifth of the memory that a picture is drawn in.
  Value skip = x;
  if (shape.inputs != shape.outputs) {
    skip = build_conv(place.in("conv_shortcut"), x,
                      {.inputs = shape.inputs, .outputs = shape.outputs, .kernel = 1, .pads = {0, 0, 0, 0}});
  }
  Value h = build_silu(b, build_group_norm(place.in("norm1"), x, shape.inputs, shape.groups, shape.epsilon));
  h = build_conv(place.in("conv1"), h, {.inputs = shape.inputs, .outputs = shape.outputs});
  Value scale, shift;
  if (shape.time_width > 0) {
    const int64_t width = shape.time_scale_shift ? 2 * shape.outputs : shape.outputs;
    const Value projected = b.unsqueeze(build_linear(place.in("time_emb_proj"), time, shape.time_width, width), {2, 3});
    if (shape.time_scale_shift) {
      const auto halves =
          b.nodes("Split", {projected, b.ints({shape.outputs, shape.outputs})}, {{"axis", int64_t{1}}}, 2);
      scale = halves[0];
      shift = halves[1];
    } else {
      h = b.add(h, projected);
    }
  }
  h = build_group_norm(place.in("norm2"), h, shape.outputs, shape.groups, shape.epsilon);
  if (scale) h = b.add(b.mul(h, b.add(scale, b.scalar(1, place.weights.dtype()))), shift);
  h = build_conv(place.in("conv2"), build_silu(b, h), {.inputs = shape.outputs, .outputs = shape.outputs});
  h = b.add(skip, h);
  return shape.output_divisor == 1 ? h : b.div(h, b.scalar(shape.output_divisor, place.weights.dtype()));
}

Value build_tokens(const Builder& b, Value x, int64_t channels) {
  return b.reshape(b.transpose(x, {0, 2, 3, 1}), {0, -1, channels});
}

Value build_from_tokens(const Builder& b, Value tokens, Value like) {
  return b.transpose(b.node("Reshape", {tokens, lengths_of(b, like, {0, 2, 3, 1})}), {0, 3, 1, 2});
}

Value build_attention(const Place& place, Value x, Value context, const AttentionShape& shape) {
  const Value q = build_linear(place.in(shape.q), x, shape.width, shape.width, shape.bias);
  const Value k = build_linear(place.in(shape.k), context, shape.context_width, shape.width, shape.bias);
  const Value v = build_linear(place.in(shape.v), context, shape.context_width, shape.width, shape.bias);
  op::Attributes attributes{{"q_num_heads", shape.heads},
                            {"kv_num_heads", shape.heads},
                            {"scale", 1.0 / std::sqrt(double(shape.width) / double(shape.heads))}};
  if (shape.causal) attributes.set("is_causal", int64_t{1});
  const Value attended = place.b.node("Attention", {q, k, v}, std::move(attributes), "attention");
  return build_linear(place.in(shape.out), attended, shape.width, shape.width);
}

Value build_spatial_transformer(const Place& place, Value x, Value context, const TransformerShape& shape) {
  const Value normed = build_group_norm(place.in("norm"), x, shape.channels, shape.groups, 1e-6);
  // A 1 x 1 convolution before the tokens are laid out is the same product as a matrix behind it.
  Value tokens = build_tokens(place.b, normed, shape.channels);
  tokens = build_linear(place.in("proj_in"), tokens, shape.channels, shape.channels);
  for (int64_t i = 0; i < shape.depth; ++i) {
    tokens = build_transformer_block(place.in("transformer_blocks.{}", i), tokens, context, shape);
  }
  tokens = build_linear(place.in("proj_out"), tokens, shape.channels, shape.channels);
  return place.b.add(build_from_tokens(place.b, tokens, x), x);
}

Value build_upsampled(const Builder& b, Value x) {
  const Value scales = b.graph().add_constant("scales", tensor::Tensor::of<float>({4}, std::vector<float>{1, 1, 2, 2}));
  return b.node("Resize", {x, {}, scales},
                {{"mode", std::string("nearest")},
                 {"coordinate_transformation_mode", std::string("asymmetric")},
                 {"nearest_mode", std::string("floor")}},
                "upsample");
}

Value build_upsampled_like(const Builder& b, Value x, Value like) {
  const Value lengths = b.concat({lengths_of(b, x, {0, 1}), lengths_of(b, like, {2, 3})}, 0);
  return b.node("Resize", {x, {}, {}, lengths},
                {{"mode", std::string("nearest")},
                 {"coordinate_transformation_mode", std::string("asymmetric")},
                 {"nearest_mode", std::string("floor")}},
                "upsample");
}

Value build_sinusoids(const Builder& b, Value times, const SinusoidShape& shape) {
  if (shape.width < 2 || shape.width % 2 != 0) {
    fail(ErrorCode::unsupported, "a time embedding of width {}, expected an even number", shape.width);
  }
  const int64_t half = shape.width / 2;
  std::vector<float> frequencies(static_cast<size_t>(half));
  const float slope = -float(std::log(10000.0));
  for (int64_t i = 0; i < half; ++i) {  // rounded where torch rounds
    frequencies[size_t(i)] = std::exp(slope * float(i) / (float(half) - float(shape.frequency_shift)));
  }
  const Value constant =
      b.graph().add_constant("frequencies", tensor::Tensor::of<float>({1, half}, std::span<const float>(frequencies)));
  const Value angles = b.mul(b.reshape(times, {-1, 1}), constant);
  const Value sines = b.node("Sin", {angles});
  const Value cosines = b.node("Cos", {angles});
  return shape.cosine_first ? b.concat({cosines, sines}, 1) : b.concat({sines, cosines}, 1);
}

}  // namespace lathe::frontend
