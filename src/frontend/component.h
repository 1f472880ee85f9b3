// One model of a picture pipeline (text encoder, UNet, autoencoder) as its config and tensors, and the table of the
// classes that become graphs.
#pragma once

#include <map>
#include <span>
#include <string>

#include "base/json.h"
#include "frontend/named_weights.h"

namespace lathe::frontend {

struct ComponentInput {
  std::string role;   // its folder: "unet", "text_encoder_2"
  Json config;        // config.json
  TensorMap tensors;  // by diffusers' and transformers' names
};

struct ComponentOptions {
  tensor::DType dtype = tensor::DType::f32;  // what the graphs compute in
  // Text encoders: the states behind each layer, normed as the last are, are outputs too: normed_states.N (what
  // diffusers' clip_skip takes).
  bool normed_states = false;
};

using GraphMap = std::map<std::string, ir::Graph>;

// One file in frontend/component, found through the generated table.
struct Component {
  std::span<const std::string_view> class_names;  // config.json's _class_name, or its entry of architectures
  // Graphs by the names that Optimum gives their folders: a UNet is "unet", an autoencoder "vae_encoder" and
  // "vae_decoder". Throws invalid_input, unsupported naming the key of the config or the tensor.
  GraphMap (*build)(const ComponentInput& input, const ComponentOptions& options);
};

std::span<const Component* const> all_components();
// The class a config names. Throws unsupported, listing those known; invalid_input where it names none.
const Component& get_component(const Json& config);
// get_component(input.config).build with the role as context of errors.
GraphMap build_component(const ComponentInput& input, const ComponentOptions& options);

// Config reading. A number, or a list of `count` of them, as a list.
std::vector<int64_t> get_ints(const Json& config, std::string_view key, int64_t count);
std::vector<int64_t> find_ints(const Json& config, std::string_view key, int64_t count, int64_t otherwise);
std::vector<std::string> get_strings(const Json& config, std::string_view key);
// Throws unsupported where `key` is there, not null, false or `plain`.
void refuse_unless(const Json& config, std::string_view key, const Json& plain);
// Throws invalid_input naming key and value unless 1 <= value <= limit.
int64_t check_size(std::string_view key, int64_t value, int64_t limit);

}  // namespace lathe::frontend
