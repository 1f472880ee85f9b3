// The "pre_tokenizer" of a tokenizer.json: cuts normalized text into the pieces that the model sees.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/regex.h"

namespace lathe::text {

struct Piece {
  std::string_view text;
  bool at_start = false;  // the first piece of the whole input
};

// Pieces and the strings they point into.
struct Pieces {
  std::vector<Piece> list;
  std::deque<std::string> strings;

  std::string_view keep(std::string text) { return strings.emplace_back(std::move(text)); }
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Replaces every piece by its parts. No piece is empty, before or after.
  virtual void apply(Pieces& pieces) const = 0;
  // Whether this ends by mapping bytes to byte-level characters. apply() leaves that mapping to the caller
  // if `defer_mapping` was given to make_pre_tokenizer, which saves writing the text once more.
  virtual bool maps_bytes() const { return false; }
};

// Throws invalid_input; unsupported, by name, for a kind that is not known.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& config, bool defer_mapping = true);

// What happens to the separators of a split.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// Appends the parts of `piece` to `out`: `matches` (ascending, no overlaps) are the separators, or with
// `invert` what lies between them.
void split_piece(const Piece& piece, const std::vector<RegexMatch>& matches, SplitBehavior behavior,
                 bool invert, std::vector<Piece>& out);

}  // namespace lathe::text
