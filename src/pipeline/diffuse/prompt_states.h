// The states of prompts that the UNet attends to, out of one or two text encoders.
#pragma once

#include "contract/pictures.h"
#include "pipeline/diffuse/diffuse.h"

namespace lathe::pipeline {

struct PromptStates {
  tensor::Tensor states;  // f32 [1, tokens, width]
  tensor::Tensor pooled;  // f32 [1, pooled width]; of two encoders only
};

// A session of the pipeline's graph `name`.
using SessionOf = std::function<runtime::GraphSession&(const std::string& name)>;

// Both have the same number of tokens. `negative` is absent unless `guided`.
struct PromptPair {
  PromptStates positive;
  std::optional<PromptStates> negative;
  std::vector<std::string> notes;
};
PromptPair encode_prompts(const contract::Pictures& contract, const std::vector<text::ClipTokenizer>& tokenizers,
                          const PictureRequest& request, bool guided, const SessionOf& session);

}  // namespace lathe::pipeline
