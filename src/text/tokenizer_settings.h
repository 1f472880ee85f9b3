// What Hugging Face's folders say of a tokenizer beside its own file: added tokens, and what stands around a text.
#pragma once

#include <string_view>

#include "text/gguf_tokenizer.h"

namespace lathe::text {

// The files' contents; empty where there is none.
struct TokenizerSettings {
  std::string_view added_tokens;        // added_tokens.json: {"<|im_start|>": 32000}
  std::string_view tokenizer_config;    // tokenizer_config.json: added_tokens_decoder, add_bos_token, bos_token, ..
  std::string_view special_tokens_map;  // special_tokens_map.json: which tokens are special
};

// Appends tokens beyond the pieces, takes over how tokens are found, and whether and which token begins and ends a
// text. Throws invalid_input for files that say other things; unsupported, naming the file, for ids that contradict
// the pieces or leave a gap.
void apply_settings(GgufTokenizer& tokenizer, const TokenizerSettings& settings);

}  // namespace lathe::text
