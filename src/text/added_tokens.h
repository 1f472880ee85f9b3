// Tokens that are found in the text before anything else: special tokens, and words added to a vocabulary.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "text/normalizer.h"

namespace lathe::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  std::string text;          // what it decodes to: the content, normalized if `normalized` is set
  bool special = false;      // left out by decode() on request
  bool single_word = false;  // only between characters that are not of a word
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // ... behind it
  bool normalized = false;   // looked for in the normalized text
};

AddedToken added_token_from_json(const Json& config);  // `id` as the file says
Json to_json(const AddedToken& token);

// Finds a set of added tokens in a text: the leftmost, of these the longest.
class AddedTokenFinder {
 public:
  struct Part {
    size_t begin = 0, end = 0;
    int32_t id = -1;  // -1: text between tokens
  };

  AddedTokenFinder();
  // `token` must outlive the finder; `content` is what is looked for (its normalized content, perhaps).
  void add(const AddedToken& token, std::string_view content);
  bool empty() const { return tokens_.empty(); }

  // Appends the parts of `text` in order; tokens may reach over white space around them.
  void split(std::string_view text, std::vector<Part>& parts) const;

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> children;
    int32_t token = -1;  // index into tokens_
  };

  std::vector<const AddedToken*> tokens_;
  std::vector<Node> nodes_;            // a trie; 0 is the root
  std::array<uint32_t, 256> first_{};  // children of the root, 0 for none
};

}  // namespace lathe::text
