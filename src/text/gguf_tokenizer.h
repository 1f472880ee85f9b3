// The tokenizer inside a GGUF file, as a tokenizer.json.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "io/gguf_metadata.h"

namespace lathe::text {

// The `tokenizer.ggml.*` metadata that make a tokenizer.json; what is absent in the file stays empty.
struct GgufTokenizer {
  std::string model;                // "gpt2": byte-level BPE; "llama": SentencePiece BPE
  std::string pre;                  // which words gpt2's text is cut into, e.g. "llama-bpe"
  std::vector<std::string> tokens;  // by id
  std::vector<float> scores;        // by id; "llama" only
  std::vector<int32_t> token_type;  // by id: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  std::vector<std::string> merges;  // "a b", best first; "gpt2" only
  std::optional<int64_t> bos_token_id, eos_token_id, unknown_token_id;
  std::optional<bool> add_bos_token, add_eos_token, add_space_prefix;

  // Of SentencePiece's own file, not of a GGUF's: messages name its fields, types decide what is merged, and user
  // defined pieces are part of the text that the space is put in front of.
  bool sentencepiece_file = false;
  std::map<size_t, Json> added = {};  // by id: an added token as tokenizer.json has it, in place of what its type says
};

constexpr int32_t kNormalPiece = 1, kUnusedPiece = 5;  // of token_type

// What messages call a key of tokenizer.ggml: by that, or as SentencePiece's file has it.
std::string field_of(const GgufTokenizer& tokenizer, std::string_view key);

// Throws not_found when the file has no tokenizer, invalid_input for values of other types.
GgufTokenizer read_gguf_tokenizer(const io::GgufMetadata& metadata);

// A tokenizer.json that the `tokenizers` library loads, too, and that encodes the same way. Throws
// unsupported for an unknown model or pre (the message lists those known), invalid_input for metadata that
// does not fit together.
Json tokenizer_json_from_gguf(const GgufTokenizer& gguf);

}  // namespace lathe::text
