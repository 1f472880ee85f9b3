// SentencePiece's own file, tokenizer.model (sentencepiece_model.proto), as a tokenizer.json.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "base/json.h"
#include "text/gguf_tokenizer.h"
#include "text/tokenizer_settings.h"

namespace lathe::text {

// Its pieces, scores and special tokens. `name` for messages. Throws invalid_input for bytes that are no such file;
// unsupported, naming the setting and its value, for models that are not BPE and for normalisations other than spaces
// as U+2581: Llama's has none.
GgufTokenizer read_sentencepiece(std::span<const std::byte> file, std::string_view name);

// A tokenizer.json that encodes as the file does, begin of text first, with what the files beside it say. Special
// tokens are found in text, too, where SentencePiece itself takes their names for text; what is between them is a text
// each. Throws also where `settings` contradict the file, and unsupported for unused pieces that text could become.
Json tokenizer_json_from_sentencepiece(std::span<const std::byte> file, std::string_view name,
                                       const TokenizerSettings& settings = {});

}  // namespace lathe::text
