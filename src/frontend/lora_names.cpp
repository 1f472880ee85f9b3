#include "frontend/lora_names.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "frontend/original_unet.h"

namespace lathe::frontend {
namespace {

using tensor::SourcePtr;

// Ends of tensors' names, and what each is.
struct Part {
  std::string_view suffix;
  SourcePtr LoraLayer::* member;
};
constexpr std::array<Part, 12> kParts = {{{".lora_down.weight", &LoraLayer::down},  // kohya
                                          {".lora_up.weight", &LoraLayer::up},
                                          {".lora_mid.weight", &LoraLayer::mid},
                                          {".alpha", &LoraLayer::alpha},
                                          {".lora_A.weight", &LoraLayer::down},  // peft
                                          {".lora_B.weight", &LoraLayer::up},
                                          {".lora.down.weight", &LoraLayer::down},  // diffusers
                                          {".lora.up.weight", &LoraLayer::up},
                                          {"_lora.down.weight", &LoraLayer::down},  // its attention processors
                                          {"_lora.up.weight", &LoraLayer::up},
                                          {".lora_linear_layer.down.weight", &LoraLayer::down},  // its text encoders
                                          {".lora_linear_layer.up.weight", &LoraLayer::up}}};

struct OtherKind {
  std::string_view part, name;
};
constexpr std::array<OtherKind, 5> kOtherKinds = {{{".dora_scale", "DoRA"},
                                                   {".lora_magnitude_vector", "DoRA"},
                                                   {".hada_", "LoHa"},
                                                   {".lokr_", "LoKr"},
                                                   {".oft_", "OFT"}}};

[[noreturn]] void fail_unknown(const std::string& name) {
  for (const OtherKind& kind : kOtherKinds) {
    if (name.find(kind.part) != std::string::npos) {
      fail(ErrorCode::unsupported, "tensor \"{}\": {} is not supported, LoRA is", name, kind.name);
    }
  }
  fail(ErrorCode::invalid_input, "tensor \"{}\" is none of a LoRA's", name);
}

// An attention processor's name as the layer's: "attn1.processor.to_out" is attn1.to_out.0.
std::string layer_of_processor(std::string name) {
  constexpr std::string_view kProcessor = ".processor.";
  if (const size_t at = name.find(kProcessor); at != std::string::npos) name.replace(at, kProcessor.size(), ".");
  return name.ends_with(".to_out") ? name + ".0" : name;
}

std::string underscored(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

// transformers 5 writes the text model's layers without the model's own name, older ones with it; so do their LoRAs.
constexpr std::string_view kTextModel = "text_model.";
std::string short_text_name(const std::string& module) {
  return module.starts_with(kTextModel) ? module.substr(kTextModel.size()) : module;
}
std::string full_text_name(const std::string& module) {
  const bool inside = module.starts_with("encoder.") || module.starts_with("embeddings.");
  return inside ? std::string(kTextModel) + module : module;
}

class Targets {
 public:
  explicit Targets(const std::map<std::string, ComponentInput>& components) : components_(components) {}

  std::map<std::string, LoraTarget> run() {
    for (const auto& [role, component] : components_) {
      const bool unet = role == "unet";
      if (!unet && !role.starts_with("text_encoder")) continue;
      const OriginalUnetNames original = unet ? OriginalUnetNames(component.tensors) : OriginalUnetNames();
      for (const auto& [name, source] : component.tensors) {
        constexpr std::string_view kWeight = ".weight";
        if (!name.ends_with(kWeight) || source->dims().size() < 2) continue;
        const std::string module = name.substr(0, name.size() - kWeight.size());
        if (unet) {
          add_unet(module, original.of(module), name);
        } else {
          add_text(role, full_text_name(module), name);
          add(role + "." + short_text_name(module), role, name);
        }
      }
    }
    return std::move(targets_);
  }

 private:
  void add(std::string key, const std::string& role, const std::string& tensor) {
    targets_.emplace(std::move(key), LoraTarget{role, tensor});
  }
  void add_unet(const std::string& module, const std::string& original, const std::string& tensor) {
    add("lora_unet_" + underscored(module), "unet", tensor);
    if (!original.empty()) add("lora_unet_" + underscored(original), "unet", tensor);
    add("unet." + module, "unet", tensor);
    add(module, "unet", tensor);
  }
  void add_text(const std::string& role, const std::string& module, const std::string& tensor) {
    const bool second = role == "text_encoder_2";
    add((second ? "lora_te2_" : "lora_te1_") + underscored(module), role, tensor);
    if (!second) add("lora_te_" + underscored(module), role, tensor);
    add(role + "." + module, role, tensor);
  }

  const std::map<std::string, ComponentInput>& components_;
  std::map<std::string, LoraTarget> targets_;
};

}  // namespace

std::map<std::string, LoraLayer> group_lora_layers(const io::TensorFile& file) {
  std::map<std::string, LoraLayer> layers;
  for (const io::NamedSource& tensor : file.tensors) {
    const auto part = std::ranges::find_if(kParts, [&](const Part& p) { return tensor.name.ends_with(p.suffix); });
    if (part == kParts.end()) fail_unknown(tensor.name);
    const std::string module = tensor.name.substr(0, tensor.name.size() - part->suffix.size());
    SourcePtr& place = layers[layer_of_processor(module)].*(part->member);
    if (place) fail(ErrorCode::invalid_input, "tensor \"{}\" is there under two names", tensor.name);
    if (!tensor::is_float(tensor.source->dtype()) && part->member != &LoraLayer::alpha) {
      fail(ErrorCode::unsupported, "tensor \"{}\" is of type {}", tensor.name,
           tensor::to_string(tensor.source->dtype()));
    }
    place = tensor.source;
  }
  for (const auto& [name, layer] : layers) {
    if (!layer.up || !layer.down) {
      fail(ErrorCode::invalid_input, "layer \"{}\": the {} half is missing", name, layer.up ? "down" : "up");
    }
  }
  return layers;
}

std::map<std::string, LoraTarget> lora_targets(const std::map<std::string, ComponentInput>& components) {
  return Targets(components).run();
}

}  // namespace lathe::frontend
