// The tiny autoencoder (TAESD): diffusers' AutoencoderTiny, as two graphs with the inputs and outputs of
// AutoencoderKL's, except that the encoder gives latents, not the parameters of their distribution.
#include "base/error.h"
#include "frontend/component.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

struct TinyAutoencoder {
  int64_t in_channels, out_channels, latents, upsampling;
  std::vector<int64_t> encoder_channels, decoder_channels, encoder_blocks, decoder_blocks;
};

std::vector<int64_t> read_list(const Json& config, std::string_view key, std::vector<int64_t> otherwise) {
  const Json* member = find_member(config, key);
  if (!member) return otherwise;
  const int64_t count =
      check_size(fmt::format("{} (how many)", key), member->is_array() ? int64_t(member->size()) : 0, 16);
  auto values = get_ints(config, key, count);
  for (const int64_t value : values) check_size(key, value, 1 << 16);
  return values;
}

TinyAutoencoder read_config(const Json& config) {
  refuse_unless(config, "act_fn", "relu");
  refuse_unless(config, "upsample_fn", "nearest");
  TinyAutoencoder vae;
  vae.in_channels = check_size("in_channels", find_int(config, "in_channels").value_or(3), 1 << 12);
  vae.out_channels = check_size("out_channels", find_int(config, "out_channels").value_or(3), 1 << 12);
  vae.latents = check_size("latent_channels", find_int(config, "latent_channels").value_or(4), 1 << 12);
  vae.upsampling = find_int(config, "upsampling_scaling_factor").value_or(2);
  if (vae.upsampling != 2)
    fail(ErrorCode::unsupported, "config: upsampling_scaling_factor is {}, expected 2", vae.upsampling);
  vae.encoder_channels = read_list(config, "encoder_block_out_channels", {64, 64, 64, 64});
  vae.decoder_channels = read_list(config, "decoder_block_out_channels", {64, 64, 64, 64});
  vae.encoder_blocks = read_list(config, "num_encoder_blocks", {1, 3, 3, 3});
  vae.decoder_blocks = read_list(config, "num_decoder_blocks", {3, 3, 3, 1});
  if (vae.encoder_channels.size() != vae.encoder_blocks.size() ||
      vae.decoder_channels.size() != vae.decoder_blocks.size()) {
    fail(ErrorCode::invalid_input, "config: block_out_channels and num_blocks differ in length");
  }
  return vae;
}

// diffusers numbers the layers of a sequence, those without weights included.
class Sequence {
 public:
  explicit Sequence(Place place) : place_(std::move(place)) {}

  const Builder& b() const { return place_.b; }
  void skip() { ++index_; }
  Value conv(Value x, int64_t inputs, int64_t outputs, int64_t stride = 1, Bias bias = Bias::required) {
    return build_conv(next(), x, {.inputs = inputs, .outputs = outputs, .stride = stride, .bias = bias});
  }
  Value block(Value x, int64_t channels) {
    const Place place = next().in("conv");
    Value h = x;
    for (const int i : {0, 2, 4}) {
      h = build_conv(place.in("{}", i), h, {.inputs = channels, .outputs = channels});
      if (i < 4) h = b().node("Relu", {h});
    }
    return b().node("Relu", {b().add(h, x)});
  }

 private:
  Place next() { return place_.in("{}", index_++); }
  Place place_;
  int index_ = 0;
};

ir::Graph build_encoder_graph(const TinyAutoencoder& vae, const NamedWeights& weights) {
  ir::Graph graph;
  const Place top{Builder(graph), weights};
  Value x = graph.add_input("sample", {weights.dtype(),
                                       {Dim::symbol("batch_size"), vae.in_channels, Dim::symbol("sample_height"),
                                        Dim::symbol("sample_width")},
                                       {}});
  const auto number = [&](double value) { return top.b.scalar(value, weights.dtype()); };
  x = top.b.div(top.b.add(x, number(1)), number(2));
  Sequence layers(top.in("encoder.layers"));
  for (size_t i = 0; i < vae.encoder_channels.size(); ++i) {
    const int64_t channels = vae.encoder_channels[i];
    x = i == 0 ? layers.conv(x, vae.in_channels, channels) : layers.conv(x, channels, channels, 2, Bias::none);
    for (int64_t j = 0; j < vae.encoder_blocks[i]; ++j) x = layers.block(x, channels);
  }
  graph.add_output(layers.conv(x, vae.encoder_channels.back(), vae.latents), "latents");
  return graph;
}

ir::Graph build_decoder_graph(const TinyAutoencoder& vae, const NamedWeights& weights) {
  ir::Graph graph;
  const Place top{Builder(graph), weights};
  const Builder& b = top.b;
  Value x = graph.add_input("latent_sample", {weights.dtype(),
                                              {Dim::symbol("batch_size"), vae.latents, Dim::symbol("latent_height"),
                                               Dim::symbol("latent_width")},
                                              {}});
  const auto number = [&](double value) { return b.scalar(value, weights.dtype()); };
  x = b.mul(b.node("Tanh", {b.div(x, number(3))}), number(3));
  Sequence layers(top.in("decoder.layers"));
  x = b.node("Relu", {layers.conv(x, vae.latents, vae.decoder_channels[0])});
  layers.skip();
  for (size_t i = 0; i < vae.decoder_channels.size(); ++i) {
    const bool last = i + 1 == vae.decoder_channels.size();
    const int64_t channels = vae.decoder_channels[i];
    for (int64_t j = 0; j < vae.decoder_blocks[i]; ++j) x = layers.block(x, channels);
    if (!last) {
      x = build_upsampled(b, x);
      layers.skip();
    }
    x = layers.conv(x, channels, last ? vae.out_channels : channels, 1, last ? Bias::required : Bias::none);
  }
  graph.add_output(b.sub(b.mul(x, number(2)), number(1)), "sample");
  return graph;
}

GraphMap build(const ComponentInput& input, const ComponentOptions& options) {
  const TinyAutoencoder vae = read_config(input.config);
  const NamedWeights weights(input.tensors, options.dtype);
  GraphMap graphs;
  graphs.emplace(input.role + "_decoder", build_decoder_graph(vae, weights));
  graphs.emplace(input.role + "_encoder", build_encoder_graph(vae, weights));
  weights.check_all_used(nullptr);
  return graphs;
}

}  // namespace

const Component& autoencoder_tiny_component() {
  static constexpr std::string_view kNames[] = {"AutoencoderTiny"};
  static constexpr Component kTiny = {.class_names = kNames, .build = build};
  return kTiny;
}

}  // namespace lathe::frontend
