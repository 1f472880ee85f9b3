// The layers that UNets, autoencoders and text encoders of picture pipelines are made of (diffusers' ResnetBlock2D,
// Transformer2DModel, Downsample2D, Upsample2D). Feature maps are [batch, channels, height, width].
#pragma once

#include "frontend/named_weights.h"

namespace lathe::frontend {

// A scope of names and the weights below it, which go together.
struct Place {
  Builder b;
  NamedWeights weights;

  Place in(std::string_view name) const { return {b.scoped(name), weights.scoped(name)}; }
  template <class... T>
  Place in(fmt::format_string<T...> format, T&&... values) const {
    return in(std::string_view(fmt::format(format, std::forward<T>(values)...)));
  }
};

// x [.., inputs] times "weight" [outputs, inputs] transposed, plus "bias" where it is stored (or must be).
enum class Bias { none, stored, required };
Value build_linear(const Place& place, Value x, int64_t inputs, int64_t outputs, Bias bias = Bias::required);

struct ConvShape {
  int64_t inputs, outputs;
  int64_t kernel = 3;
  int64_t stride = 1;
  std::vector<int64_t> pads = {1, 1, 1, 1};
  Bias bias = Bias::required;
};
Value build_conv(const Place& place, Value x, const ConvShape& shape);

Value build_group_norm(const Place& place, Value x, int64_t channels, int64_t groups, double epsilon);
Value build_layer_norm(const Place& place, Value x, int64_t width, double epsilon);
Value build_silu(const Builder& b, Value x);

struct ResnetShape {
  int64_t inputs, outputs;
  int64_t groups = 32;
  double epsilon = 1e-5;
  int64_t time_width = 0;         // of the time embedding; 0: takes none
  bool time_scale_shift = false;  // the embedding is a factor and a term of the second norm, not a term before it
  double output_divisor = 1;
};
// time [batch or 1, time_width], SiLU applied already; absent where time_width is 0.
Value build_resnet(const Place& place, Value x, Value time, const ResnetShape& shape);

struct TransformerShape {
  int64_t channels;
  int64_t heads;
  int64_t depth = 1;          // blocks
  int64_t context_width = 0;  // of the text's states; 0: no cross-attention
  int64_t groups = 32;
  bool only_cross_attention = false;
};
// Spatial transformer: groups normed, blocks of self-attention, cross-attention to context [batch, tokens,
// context_width] and a GEGLU MLP over height x width tokens, added to x.
Value build_spatial_transformer(const Place& place, Value x, Value context, const TransformerShape& shape);

// [batch, channels, height, width] as tokens [batch, height * width, channels], and back to the lengths of `like`.
Value build_tokens(const Builder& b, Value x, int64_t channels);
Value build_from_tokens(const Builder& b, Value tokens, Value like);

// softmax(q k^T / sqrt(head dim)) v with x [batch, tokens, width] and context (x itself for self-attention).
struct AttentionShape {
  int64_t width;
  int64_t heads;
  int64_t context_width;
  Bias bias = Bias::none;  // of query, key and value
  std::string_view q = "to_q", k = "to_k", v = "to_v", out = "to_out.0";
  bool causal = false;
};
Value build_attention(const Place& place, Value x, Value context, const AttentionShape& shape);

// Nearest neighbours: to twice the size, or to height and width of `like`.
Value build_upsampled(const Builder& b, Value x);
Value build_upsampled_like(const Builder& b, Value x, Value like);

// Angles of times [n] (or [n, m], flattened) as diffusers' get_timestep_embedding: [n, width]; "Denoising Diffusion
// Probabilistic Models", section 3.3, after "Attention Is All You Need", section 3.5. Width must be even.
struct SinusoidShape {
  int64_t width;
  bool cosine_first = true;    // flip_sin_to_cos
  double frequency_shift = 0;  // freq_shift
};
Value build_sinusoids(const Builder& b, Value times, const SinusoidShape& shape);

}  // namespace lathe::frontend
