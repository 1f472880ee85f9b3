// The content of a tokenizer.json in a form that is quick to build from: the two large members of a BPE model
// as flat lists, everything else as Json.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace lathe::text {

struct TokenizerSource {
  // The document without model.vocab (if it was an object) and model.merges (if it was an array).
  Json config;
  bool has_vocab = false, has_merges = false;
  std::vector<std::pair<std::string_view, int64_t>> vocab;            // in file order
  std::vector<std::pair<std::string_view, std::string_view>> merges;  // in order of rank

  std::deque<std::string> strings;  // what the views above point into, if not the caller's text
};

// Reads the text without building a tree for the vocabulary (a Json object of n keys costs n^2). The views
// may point into `text`, which must outlive the result. Throws invalid_input.
TokenizerSource read_tokenizer_source(std::string_view text, std::string_view name);
// The same from a tree; the views point into `tokenizer`.
TokenizerSource read_tokenizer_source(const Json& tokenizer);

}  // namespace lathe::text
