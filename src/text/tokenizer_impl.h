// What a Tokenizer consists of; for tokenizer.cpp and compiled_tokenizer.cpp only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"
#include "text/tokenizer_source.h"

namespace lathe::text {

struct Tokenizer::Impl {
  // `config` is a tokenizer.json without vocabulary and merges; `added` has final ids.
  Impl(Json config_json, Bpe model, std::deque<AddedToken> added);

  Json config;
  Bpe bpe;
  std::deque<AddedToken> added_tokens;  // stable addresses: the finders and maps point into it
  std::unordered_map<int32_t, const AddedToken*> added_by_id;
  std::unordered_map<std::string_view, const AddedToken*> added_by_content;
  AddedTokenFinder in_raw_text, in_normalized_text;
  std::unique_ptr<const Normalizer> normalizer;       // may be null
  std::unique_ptr<const PreTokenizer> pre_tokenizer;  // may be null
  SpecialFrame frame;
  std::unique_ptr<const Decoder> decoder;
  size_t vocab_size = 0;

  static BpeOptions bpe_options(const Json& model);
  static std::shared_ptr<const Impl> build(TokenizerSource source);

  void encode_text(std::string_view text, std::vector<int32_t>& ids) const;
  std::string_view token(int32_t id) const;        // empty: none
  bool is_skipped(const AddedToken& token) const;  // by decode(), on request
};

}  // namespace lathe::text
