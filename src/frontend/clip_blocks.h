// The transformer layers of CLIP's text and vision towers (transformers' CLIPEncoderLayer).
#pragma once

#include <string>

#include "base/json.h"
#include "frontend/picture_blocks.h"

namespace lathe::frontend {

struct ClipShape {
  int64_t width = 0, inner = 0, layers = 0, heads = 0;
  double epsilon = 1e-5;
  std::string activation;
  bool causal = false;
};

// From a CLIPTextConfig or CLIPVisionConfig; `defaults` has activation and causal, and sizes that need not be said (0:
// they must). Throws invalid_input naming the key.
ClipShape read_clip_shape(const Json& config, ClipShape defaults);

// x [batch, tokens, width]: norm and attention, norm and MLP, each added to its input.
Value build_clip_layer(const Place& layer, const ClipShape& shape, Value x);

}  // namespace lathe::frontend
