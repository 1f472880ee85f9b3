#include "text/score_merges.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

constexpr size_t kMaxPieceBytes = 4096;  // all ways to cut a piece are tried
// Together; a vocabulary of 262 thousand pieces has about 600 thousand merges of 7 MB.
constexpr size_t kMaxMerges = 1 << 21, kMaxMergeBytes = 64 << 20;
constexpr uint64_t kMaxLookedAt = uint64_t{1} << 32;  // bytes of parts that may be pieces

struct ScoredMerge {
  int32_t left, right;
  float score;
  size_t left_characters, right_characters;
  size_t order;  // in which they were found
};

// Collects the merges of one piece after the other.
class Merges {
 public:
  explicit Merges(const GgufTokenizer& tokenizer) : tokenizer_(tokenizer) {
    for (size_t id = 0; id < tokenizer.tokens.size(); ++id) {
      if (takes_part(id)) ids_.emplace(tokenizer.tokens[id], int32_t(id));
    }
  }

  void add_ways_to_make(size_t id) {
    if (!takes_part(id)) return;
    const std::string_view piece = tokenizer_.tokens[id];
    check(id, piece);
    std::vector<size_t> starts;  // of the characters, and the end
    for (size_t at = 0; at < piece.size(); take_code_point(piece, at)) starts.push_back(at);
    starts.push_back(piece.size());
    const size_t first = found_.size();
    for (size_t cut = 1; cut + 1 < starts.size(); ++cut) {
      const auto left = ids_.find(piece.substr(0, starts[cut])), right = ids_.find(piece.substr(starts[cut]));
      if (left == ids_.end() || right == ids_.end()) continue;
      found_.push_back({left->second, right->second, tokenizer_.scores[id], cut, starts.size() - 1 - cut, 0});
    }
    if (found_.size() == first) return;
    refuse_unused(id);
    std::sort(found_.begin() + std::ptrdiff_t(first), found_.end(), [](const ScoredMerge& a, const ScoredMerge& b) {
      return std::pair(a.left, a.right) < std::pair(b.left, b.right);
    });
    bytes_ += (found_.size() - first) * piece.size();
    if (found_.size() > kMaxMerges || bytes_ > kMaxMergeBytes) {
      fail(ErrorCode::invalid_input,
           "{}: the first {} of {} can be made of two others in {} ways of {} bytes together, expected at most {} ways "
           "and {} bytes",
           field_of(tokenizer_, "tokens"), id + 1, tokenizer_.tokens.size(), found_.size(), bytes_, kMaxMerges,
           kMaxMergeBytes);
    }
  }

  // By falling score; equal ones by falling lengths of the parts, then in order of the piece and of its parts' ids.
  const std::vector<ScoredMerge>& sorted() {
    for (size_t i = 0; i < found_.size(); ++i) found_[i].order = i;
    std::sort(found_.begin(), found_.end(), [](const ScoredMerge& x, const ScoredMerge& y) {
      if (x.score != y.score) return x.score > y.score;
      if (x.left_characters != y.left_characters) return x.left_characters > y.left_characters;
      if (x.right_characters != y.right_characters) return x.right_characters > y.right_characters;
      return x.order < y.order;
    });
    return found_;
  }

 private:
  // SentencePiece merges to normal and unused pieces; those of other types stand for what is no text, or are found
  // before anything is merged. What reads GGUF files does not ask.
  bool takes_part(size_t id) const {
    if (!tokenizer_.sentencepiece_file) return true;
    const int32_t type = tokenizer_.token_type[id];
    return type == kNormalPiece || type == kUnusedPiece;
  }

  // SentencePiece merges to unused pieces, too, and takes them apart in the end.
  void refuse_unused(size_t id) const {
    if (!tokenizer_.sentencepiece_file || tokenizer_.token_type[id] != kUnusedPiece) return;
    fail(ErrorCode::unsupported, "piece {} (\"{}\"): type 5 (unused), and it is made of two others", id,
         tokenizer_.tokens[id]);
  }

  void check(size_t id, std::string_view piece) {
    if (piece.size() > kMaxPieceBytes) {
      fail(ErrorCode::invalid_input, "{}: number {} has {} bytes, expected at most {}", field_of(tokenizer_, "tokens"),
           id, piece.size(), kMaxPieceBytes);
    }
    looked_at_ += uint64_t(piece.size()) * piece.size();
    if (looked_at_ > kMaxLookedAt) {
      fail(ErrorCode::invalid_input, "{}: the parts of the first {} of {} have {} bytes, expected at most {}",
           field_of(tokenizer_, "tokens"), id + 1, tokenizer_.tokens.size(), looked_at_, kMaxLookedAt);
    }
  }

  const GgufTokenizer& tokenizer_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::vector<ScoredMerge> found_;
  size_t bytes_ = 0;
  uint64_t looked_at_ = 0;
};

}  // namespace

Json merges_from_scores(const GgufTokenizer& tokenizer) {
  Merges merges(tokenizer);
  for (size_t id = 0; id < tokenizer.tokens.size(); ++id) merges.add_ways_to_make(id);
  Json list = Json::array();
  for (const ScoredMerge& merge : merges.sorted()) {
    list.push_back({tokenizer.tokens[size_t(merge.left)], tokenizer.tokens[size_t(merge.right)]});
  }
  return list;
}

}  // namespace lathe::text
