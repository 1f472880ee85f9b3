// What layers are called in files of LoRA, and which weights of a pipeline they mean; private to lora.cpp and its
// tests.
#pragma once

#include <map>
#include <string>

#include "frontend/component.h"
#include "io/tensor_file.h"

namespace lathe::frontend {

// What a file holds for one layer.
struct LoraLayer {
  tensor::SourcePtr down, up;  // never null
  tensor::SourcePtr mid;       // between them, of convolutions split into three; may be null
  tensor::SourcePtr alpha;     // may be null
};

// By the layer's name in the file, brought to one of the forms that lora_targets() knows. Throws invalid_input for a
// layer of which a half is missing and for tensors that are none of a LoRA's; unsupported, naming them, for other
// kinds.
std::map<std::string, LoraLayer> group_lora_layers(const io::TensorFile& file);

struct LoraTarget {
  std::string role;    // of the component
  std::string tensor;  // its weight's name there

  std::string module() const { return tensor.substr(0, tensor.rfind('.')); }
};

// Every weight of more than one axis under each of the names that a file may have for it.
std::map<std::string, LoraTarget> lora_targets(const std::map<std::string, ComponentInput>& components);

}  // namespace lathe::frontend
