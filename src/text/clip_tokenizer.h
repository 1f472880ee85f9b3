// CLIP's tokenizer out of the files of a diffusers folder: vocab.json and merges.txt, or a tokenizer.json.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace lathe::text {

// Contents of the files; those that a folder need not have are empty.
struct ClipTokenizerFiles {
  std::string vocab;               // vocab.json
  std::string merges;              // merges.txt
  std::string special_tokens_map;  // special_tokens_map.json
  std::string tokenizer_config;    // tokenizer_config.json
  std::string added_tokens;        // added_tokens.json
  std::string tokenizer;           // tokenizer.json; used instead of vocab and merges where it is there
};

struct ClipTokenizer {
  Tokenizer tokenizer;  // encode(text, true) puts bos_id and eos_id around
  int32_t bos_id = 0;
  int32_t eos_id = 0;
  int32_t pad_id = 0;
  std::optional<int64_t> max_length;  // tokens of a prompt, those two included; 77
  // A trained concept of several vectors is an added token NAME with NAME_1, NAME_2 ... after it, which the prompt need
  // not name: what follows each such token.
  std::map<int32_t, std::vector<int32_t>> followers;

  // Ids of a text without start and end, concepts written out.
  std::vector<int32_t> encode(std::string_view text) const;
};

// The tokenizer.json that transformers' CLIPTokenizer (version 5) makes of vocab.json and merges.txt. Throws
// invalid_input naming the file.
std::string clip_tokenizer_json(const ClipTokenizerFiles& files);

// Which token pads: tokenizer_config.json's where that file lists its added tokens, else special_tokens_map.json's
// ("!" for Stable Diffusion 2), else tokenizer_config.json's, else the end token. A pad token is an added token: a "!"
// in a prompt becomes the pad where it is "!".
ClipTokenizer make_clip_tokenizer(const ClipTokenizerFiles& files);

// The same files with more added tokens, as transformers' add_tokens puts them in: found anywhere in a text, whatever
// the case, with the next free ids. Throws usage where the vocabulary has one of them.
void add_clip_tokens(ClipTokenizerFiles& files, const std::vector<std::string>& contents);

// Throws not_found when the folder has neither tokenizer.json nor vocab.json and merges.txt.
ClipTokenizerFiles read_clip_tokenizer_files(const std::filesystem::path& folder);

}  // namespace lathe::text
