// The classifier that Stable Diffusion 1 was published with: CLIP's vision tower and how near its view of a picture is
// to concepts (diffusers' StableDiffusionSafetyChecker; "Learning Transferable Visual Models From Natural Language
// Supervision", section 2.4).
#include "frontend/clip_blocks.h"
#include "frontend/component.h"

namespace lathe::frontend {
namespace {

using tensor::Dim;
using tensor::DType;

struct Vision {
  ClipShape shape;
  int64_t channels, side, patch;  // of the picture, of its patches
};

// What CLIPVisionConfig has where the file says nothing.
Vision read_config(const Json& config) {
  Vision vision;
  vision.shape =
      read_clip_shape(config, {.width = 768, .inner = 3072, .layers = 12, .heads = 12, .activation = "quick_gelu"});
  vision.channels = check_size("num_channels", find_int(config, "num_channels").value_or(3), 64);
  vision.side = check_size("image_size", find_int(config, "image_size").value_or(224), 1 << 14);
  vision.patch = check_size("patch_size", find_int(config, "patch_size").value_or(32), vision.side);
  return vision;
}

// [batch, channels, side, side] as [batch, 1 + patches, width]: the class's own vector first, then one a patch, each
// plus its place's.
Value build_embeddings(const Place& place, const Vision& vision, Value picture) {
  const Builder& b = place.b;
  const int64_t width = vision.shape.width, across = vision.side / vision.patch, patches = across * across;
  const Value map = build_conv(place.in("patch_embedding"), picture,
                               {.inputs = vision.channels,
                                .outputs = width,
                                .kernel = vision.patch,
                                .stride = vision.patch,
                                .pads = {0, 0, 0, 0},
                                .bias = Bias::none});
  const Value tokens = b.transpose(b.reshape(map, {0, width, patches}), {0, 2, 1});
  const Value own = b.reshape(place.weights.get(b, "class_embedding", {width}), {1, 1, width});
  const Value batch = b.slice(b.node("Shape", {picture}), 0, 1, 0);
  const Value owns = b.node("Expand", {own, b.concat({batch, b.ints({1, width})}, 0)}, {}, "class");
  return b.add(b.concat({owns, tokens}, 1), place.weights.get(b, "position_embedding.weight", {patches + 1, width}));
}

// Rows of x [n, width] at length 1.
Value build_unit(const Builder& b, Value x) {
  return b.node("LpNormalization", {x}, {{"axis", int64_t{-1}}, {"p", int64_t{2}}}, "unit");
}

// How much nearer than its threshold the picture is to each concept: [batch, concepts].
Value build_scores(const Place& top, const std::string& name, Value unit, int64_t projected) {
  const Builder b = top.b.scoped(name);
  const int64_t count = top.weights.dims(name)[0];
  const Value concepts = build_unit(b, top.weights.get(b, name, {count, projected}));
  return b.sub(b.linear(unit, concepts), top.weights.get(b, name + "_weights", {count}));
}

bool is_position_index(std::string_view name) {
  return name.ends_with("position_ids");
}

GraphMap build(const ComponentInput& input, const ComponentOptions& options) {
  const Json* nested = find_member(input.config, "vision_config");
  const Vision vision = read_config(nested ? *nested : Json::object());
  GraphMap graphs;
  ir::Graph& graph = graphs.emplace(input.role, ir::Graph("main")).first->second;
  const Value picture = graph.add_input(
      "clip_input", {DType::f32, {Dim::symbol("batch_size"), vision.channels, vision.side, vision.side}, {}});
  const NamedWeights weights(input.tensors, options.dtype);
  const Place top{Builder(graph), weights};
  // transformers 5 writes the names without the model's own.
  const bool inner = weights.has("vision_model.vision_model.embeddings.class_embedding");
  const Place tower = inner ? top.in("vision_model.vision_model") : top.in("vision_model");
  const int64_t width = vision.shape.width;
  const double epsilon = vision.shape.epsilon;
  Value states = build_embeddings(tower.in("embeddings"), vision, top.b.cast(picture, options.dtype));
  states = build_layer_norm(tower.in("pre_layrnorm"), states, width, epsilon);
  for (int64_t i = 0; i < vision.shape.layers; ++i) {
    states = build_clip_layer(tower.in("encoder.layers.{}", i), vision.shape, states);
  }
  const Value own = top.b.reshape(top.b.slice(states, 0, 1, 1), {0, width});
  const Value pooled = build_layer_norm(tower.in("post_layernorm"), own, width, epsilon);
  const int64_t projected = weights.dims("visual_projection.weight")[0];
  const Value unit = build_unit(top.b, build_linear(top.in("visual_projection"), pooled, width, projected, Bias::none));
  graph.add_output(top.b.cast(build_scores(top, "concept_embeds", unit, projected), DType::f32), "concept_scores");
  graph.add_output(top.b.cast(build_scores(top, "special_care_embeds", unit, projected), DType::f32), "special_scores");
  weights.check_all_used(is_position_index);
  return graphs;
}

}  // namespace

const Component& safety_checker_component() {
  static constexpr std::string_view kNames[] = {"StableDiffusionSafetyChecker"};
  static constexpr Component kSafetyChecker = {.class_names = kNames, .build = build};
  return kSafetyChecker;
}

}  // namespace lathe::frontend
