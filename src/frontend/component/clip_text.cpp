// CLIP's text tower: OpenAI's and OpenCLIP's, as transformers' CLIPTextModel and CLIPTextModelWithProjection.
// Source: "Learning Transferable Visual Models From Natural Language Supervision", section 2.4; the checkpoint's
// config.
#include "base/error.h"
#include "frontend/component.h"
#include "frontend/decoder.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

struct ClipText {
  int64_t vocab, width, inner, layers, heads, positions;
  double epsilon;
  std::string activation;
  int64_t end_token;
};

ClipText read_config(const Json& config) {
  ClipText clip;
  clip.vocab = check_size("vocab_size", get_int(config, "vocab_size"), 1 << 24);
  clip.width = check_size("hidden_size", get_int(config, "hidden_size"), 1 << 16);
  clip.inner = check_size("intermediate_size", get_int(config, "intermediate_size"), 1 << 18);
  clip.layers = check_size("num_hidden_layers", get_int(config, "num_hidden_layers"), 1000);
  clip.heads = check_size("num_attention_heads", get_int(config, "num_attention_heads"), 1 << 12);
  clip.positions =
      check_size("max_position_embeddings", find_int(config, "max_position_embeddings").value_or(77), 1 << 16);
  clip.epsilon = find_number(config, "layer_norm_eps").value_or(1e-5);
  clip.activation = find_string(config, "hidden_act").value_or("quick_gelu");
  clip.end_token = find_int(config, "eos_token_id").value_or(49407);
  if (clip.width % clip.heads != 0) {
    fail(ErrorCode::invalid_input, "config: hidden_size {} does not divide into {} heads", clip.width, clip.heads);
  }
  return clip;
}

Value build_activation(const Builder& b, const ClipText& clip, Value x) {
  if (clip.activation == "gelu") return b.node("Gelu", {x}, {}, "gelu");
  if (clip.activation == "quick_gelu") return b.node("Swish", {x}, {{"alpha", 1.702}}, "quick_gelu");
  if (clip.activation == "gelu_new" || clip.activation == "gelu_pytorch_tanh") {
    return b.node("Gelu", {x}, {{"approximate", std::string("tanh")}}, "gelu");
  }
  fail(ErrorCode::unsupported, "config: hidden_act \"{}\" is not supported (gelu, quick_gelu, gelu_new)",
       clip.activation);
}

Value build_layer(const Place& layer, const ClipText& clip, Value x) {
  const Builder& b = layer.b;
  const Value attn_in = build_layer_norm(layer.in("layer_norm1"), x, clip.width, clip.epsilon);
  x = b.add(x, build_attention(layer.in("self_attn"), attn_in, attn_in,
                               {.width = clip.width,
                                .heads = clip.heads,
                                .context_width = clip.width,
                                .bias = Bias::required,
                                .q = "q_proj",
                                .k = "k_proj",
                                .v = "v_proj",
                                .out = "out_proj",
                                .causal = true}));
  const Value mlp_in = build_layer_norm(layer.in("layer_norm2"), x, clip.width, clip.epsilon);
  const Value up = build_linear(layer.in("mlp.fc1"), mlp_in, clip.width, clip.inner);
  return b.add(x, build_linear(layer.in("mlp.fc2"), build_activation(b, clip, up), clip.inner, clip.width));
}

Value build_embeddings(const Place& place, const ClipText& clip, Value input_ids) {
  const Builder& b = place.b;
  const Value tokens = place.weights.get(b, "token_embedding.weight", {clip.vocab, clip.width});
  const Value positions = place.weights.get(b, "position_embedding.weight", {clip.positions, clip.width});
  const Value length = b.slice(b.node("Shape", {input_ids}), 1, 2, 0);
  const Value first = b.node("Slice", {positions, b.ints({0}), length, b.ints({0})}, {}, "positions");
  return b.add(b.node("Gather", {tokens, input_ids}, {{"axis", int64_t{0}}}, "tokens"), first);
}

// The state at the text's end. Configs of before mid 2023 say that the end token is 2, which is wrong: there it is the
// largest id.
Value build_pooled(const Builder& b, const ClipText& clip, Value input_ids, Value states) {
  Value place = input_ids;
  if (clip.end_token != 2) {
    place = b.cast(b.node("Equal", {input_ids, b.scalar(double(clip.end_token), DType::i64)}), DType::i32);
  }
  const Value end = b.node("ArgMax", {place}, {{"axis", int64_t{1}}, {"keepdims", int64_t{1}}}, "end");
  return b.node("GatherND", {states, end}, {{"batch_dims", int64_t{1}}}, "pooled");
}

bool is_position_index(std::string_view name) {
  return name.ends_with("position_ids");
}

GraphMap build(const ComponentInput& input, const ComponentOptions& options) {
  const ClipText clip = read_config(input.config);
  GraphMap graphs;
  ir::Graph& graph = graphs.emplace(input.role, ir::Graph("main")).first->second;
  const Value input_ids =
      graph.add_input("input_ids", {DType::i64, {Dim::symbol("batch_size"), Dim::symbol("sequence_length")}, {}});
  const NamedWeights weights(input.tensors, options.dtype);
  const Place top{Builder(graph), weights};
  // transformers 5 writes the names without the model's own.
  const Place text = weights.has("text_model.embeddings.token_embedding.weight") ? top.in("text_model") : top;
  const auto norm = [&](Value states) {
    return build_layer_norm(text.in("final_layer_norm"), states, clip.width, clip.epsilon);
  };
  std::vector<Value> states = {build_embeddings(text.in("embeddings"), clip, input_ids)};
  for (int64_t i = 0; i < clip.layers; ++i) {
    states.push_back(build_layer(text.in("encoder.layers.{}", i), clip, states.back()));
  }
  const Value last = norm(states.back());
  const Value pooled = build_pooled(top.b, clip, input_ids, last);
  if (weights.has("text_projection.weight")) {
    const int64_t projected = weights.dims("text_projection.weight")[0];
    graph.add_output(build_linear(top.in("text_projection"), pooled, clip.width, projected, Bias::none), "text_embeds");
  }
  graph.add_output(last, "last_hidden_state");
  for (size_t i = 0; options.normed_states && i + 1 < states.size(); ++i) {
    graph.add_output(norm(states[i]), fmt::format("normed_states.{}", i));
  }
  if (!weights.has("text_projection.weight")) graph.add_output(pooled, "pooler_output");
  for (size_t i = 0; i < states.size(); ++i) graph.add_output(states[i], fmt::format("hidden_states.{}", i));
  weights.check_all_used(is_position_index);
  return graphs;
}

}  // namespace

const Component& clip_text_component() {
  static constexpr std::string_view kNames[] = {"CLIPTextModel", "CLIPTextModelWithProjection"};
  static constexpr Component kClipText = {.class_names = kNames, .build = build};
  return kClipText;
}

}  // namespace lathe::frontend
