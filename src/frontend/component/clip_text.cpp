// CLIP's text tower: OpenAI's and OpenCLIP's, as transformers' CLIPTextModel and CLIPTextModelWithProjection.
// Source: "Learning Transferable Visual Models From Natural Language Supervision", section 2.4; the checkpoint's
// config.
#include "frontend/clip_blocks.h"
#include "frontend/component.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

struct ClipText {
  ClipShape shape;
  int64_t vocab, positions;
  int64_t end_token;
};

ClipText read_config(const Json& config) {
  ClipText clip;
  clip.shape = read_clip_shape(config, {.activation = "quick_gelu", .causal = true});
  clip.vocab = check_size("vocab_size", get_int(config, "vocab_size"), 1 << 24);
  clip.positions =
      check_size("max_position_embeddings", find_int(config, "max_position_embeddings").value_or(77), 1 << 16);
  clip.end_token = find_int(config, "eos_token_id").value_or(49407);
  return clip;
}

Value build_embeddings(const Place& place, const ClipText& clip, Value input_ids) {
  const Builder& b = place.b;
  const Value tokens = place.weights.get(b, "token_embedding.weight", {clip.vocab, clip.shape.width});
  const Value positions = place.weights.get(b, "position_embedding.weight", {clip.positions, clip.shape.width});
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
    return build_layer_norm(text.in("final_layer_norm"), states, clip.shape.width, clip.shape.epsilon);
  };
  std::vector<Value> states = {build_embeddings(text.in("embeddings"), clip, input_ids)};
  for (int64_t i = 0; i < clip.shape.layers; ++i) {
    states.push_back(build_clip_layer(text.in("encoder.layers.{}", i), clip.shape, states.back()));
  }
  const Value last = norm(states.back());
  const Value pooled = build_pooled(top.b, clip, input_ids, last);
  if (weights.has("text_projection.weight")) {
    const int64_t projected = weights.dims("text_projection.weight")[0];
    graph.add_output(build_linear(top.in("text_projection"), pooled, clip.shape.width, projected, Bias::none),
                     "text_embeds");
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
