// The contract of a language model out of the files and metadata around its weights.
#pragma once

#include "contract/contract.h"
#include "frontend/decoder.h"

namespace lathe::frontend {

// End tokens from generation_config.json, config.json and the tokenizer's own idea of them; the chat template
// from chat_template.jinja, tokenizer_config.json or GGUF; sampling defaults from generation_config.json.
// Throws invalid_input for combinations that cannot be right (contract::check).
// `precision` is what the model computes in without a wish.
contract::Contract make_contract(const Checkpoint& checkpoint, const DecoderConfig& config,
                                 contract::Precision precision);

}  // namespace lathe::frontend
