#include "frontend/clip_blocks.h"

#include "base/error.h"
#include "frontend/component.h"

namespace lathe::frontend {
namespace {

Value build_activation(const Builder& b, const ClipShape& shape, Value x) {
  if (shape.activation == "gelu") return b.node("Gelu", {x}, {}, "gelu");
  if (shape.activation == "quick_gelu") return b.node("Swish", {x}, {{"alpha", 1.702}}, "quick_gelu");
  if (shape.activation == "gelu_new" || shape.activation == "gelu_pytorch_tanh") {
    return b.node("Gelu", {x}, {{"approximate", std::string("tanh")}}, "gelu");
  }
  fail(ErrorCode::unsupported, "config: hidden_act \"{}\" is not supported (gelu, quick_gelu, gelu_new)",
       shape.activation);
}

}  // namespace

ClipShape read_clip_shape(const Json& config, ClipShape defaults) {
  ClipShape shape = std::move(defaults);
  const auto size = [&](std::string_view key, int64_t& value, int64_t limit) {
    value = check_size(key, value == 0 ? get_int(config, key) : find_int(config, key).value_or(value), limit);
  };
  size("hidden_size", shape.width, 1 << 16);
  size("intermediate_size", shape.inner, 1 << 18);
  size("num_hidden_layers", shape.layers, 1000);
  size("num_attention_heads", shape.heads, 1 << 12);
  shape.epsilon = find_number(config, "layer_norm_eps").value_or(shape.epsilon);
  shape.activation = find_string(config, "hidden_act").value_or(shape.activation);
  if (shape.width % shape.heads != 0) {
    fail(ErrorCode::invalid_input, "config: hidden_size {} does not divide into {} heads", shape.width, shape.heads);
  }
  return shape;
}

Value build_clip_layer(const Place& layer, const ClipShape& shape, Value x) {
  const Builder& b = layer.b;
  const Value attn_in = build_layer_norm(layer.in("layer_norm1"), x, shape.width, shape.epsilon);
  x = b.add(x, build_attention(layer.in("self_attn"), attn_in, attn_in,
                               {.width = shape.width,
                                .heads = shape.heads,
                                .context_width = shape.width,
                                .bias = Bias::required,
                                .q = "q_proj",
                                .k = "k_proj",
                                .v = "v_proj",
                                .out = "out_proj",
                                .causal = shape.causal}));
  const Value mlp_in = build_layer_norm(layer.in("layer_norm2"), x, shape.width, shape.epsilon);
  const Value up = build_linear(layer.in("mlp.fc1"), mlp_in, shape.width, shape.inner);
  return b.add(x, build_linear(layer.in("mlp.fc2"), build_activation(b, shape, up), shape.inner, shape.width));
}

}  // namespace lathe::frontend
