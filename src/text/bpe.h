// Byte-pair encoding: a piece of text to token ids by merging the best-ranked neighbours.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/vocabulary.h"

namespace lathe::text {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;  // before every character but the first, e.g. "##"
  std::string end_of_word_suffix;         // after the last character, e.g. "</w>"
  bool fuse_unk = false;                  // a run of unknown characters is one token
  bool byte_fallback = false;             // unknown characters become <0xNN> tokens
  bool ignore_merges = false;             // a piece that is itself a token is not merged together
};

// One merge, in an open-addressing table.
struct MergeSlot {
  int32_t left = -1, right = -1;  // left -1: free
  int32_t rank = 0;               // lower is merged first
  int32_t result = 0;
};

// Immutable; may be used by many threads, each with its own Scratch.
class Bpe {
 public:
  using Merges = std::vector<std::pair<std::string_view, std::string_view>>;

  // Working memory of one thread, kept between pieces.
  struct Scratch {
    struct Symbol {
      int32_t id;
      int32_t previous, next;  // index, -1 at the ends
      bool alive;
    };
    struct Candidate {
      int32_t rank, position, result;
    };
    std::vector<int32_t> ids;
    std::vector<int32_t> ranks;
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::string text;
  };

  // Throws invalid_input when a merge or the unknown token is not in the vocabulary.
  Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options);
  // From a table made before; invalid_input when it does not fit the vocabulary.
  Bpe(Vocabulary vocabulary, std::vector<MergeSlot> merge_table, BpeOptions options);

  // Appends the ids of one piece (UTF-8). With `byte_level` the piece stands for its byte-level characters.
  // Time n log n in its length.
  void encode(std::string_view piece, bool byte_level, std::vector<int32_t>& ids, Scratch& scratch) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const std::vector<MergeSlot>& merge_table() const { return merges_; }
  const BpeOptions& options() const { return options_; }

 private:
  void prepare();
  const MergeSlot* find_merge(int32_t left, int32_t right) const;
  void split_characters(std::string_view piece, Scratch& scratch) const;
  bool append_fallback_bytes(std::string_view character, std::vector<int32_t>& ids) const;
  void merge_short(std::vector<int32_t>& ids, Scratch& scratch) const;
  void merge_long(std::vector<int32_t>& ids, Scratch& scratch) const;

  Vocabulary vocabulary_;
  std::vector<MergeSlot> merges_;  // a power of two
  BpeOptions options_;
  int32_t unk_id_ = -1;
  std::array<int32_t, 256> byte_level_ids_{};  // token of the byte's character, or -1
  std::array<int32_t, 256> fallback_ids_{};    // token <0xNN>, or -1
};

}  // namespace lathe::text
