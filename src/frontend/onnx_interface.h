// An exported model of a picture pipeline behind the inputs and outputs that our own of its kind has.
#pragma once

#include <string>

#include "ir/graph.h"

namespace lathe::frontend {

// `name`: which of the pipeline's graphs it is (text_encoder, text_encoder_2, unet, vae_decoder, vae_encoder,
// safety_checker). Exporters differ in names, element types (int32 ids, int64 or fp16 times), in whether the time is
// one number or one a row, and in what they call lengths. Inputs and outputs are told by their names, else by their
// ranks where only one can be meant; an encoder that draws its latents gets `noise` [batch_size, channels, height,
// width] as an input; types are brought to ours by casts in the graph. Throws unsupported naming an input that a model
// of this kind does not take, or what is missing.
ir::Graph with_own_interface(ir::Graph graph, const std::string& name);

}  // namespace lathe::frontend
