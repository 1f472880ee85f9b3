#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "base/checked.h"
#include "base/error.h"
#include "text/byte_level.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

constexpr size_t kShortPiece = 48;  // symbols up to which rescanning all ranks beats a heap
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

size_t hash_pair(int32_t left, int32_t right) {
  const uint64_t key = (uint64_t(uint32_t(left)) << 32 | uint32_t(right)) * 0x9E3779B97F4A7C15u;
  return size_t(key ^ (key >> 32));
}

std::vector<MergeSlot> build_merge_table(const Vocabulary& vocabulary, const Bpe::Merges& merges,
                                         const std::string& prefix) {
  checked_cast<int32_t>(merges.size(), "number of merges");
  std::vector<MergeSlot> table(std::bit_ceil(2 * merges.size() + 1));
  const size_t mask = table.size() - 1;
  std::string merged;
  const auto id_of = [&](std::string_view token, size_t rank) {
    const std::optional<int32_t> id = vocabulary.find(token);
    if (!id) fail(ErrorCode::invalid_input, "merge {}: token \"{}\" is not in the vocabulary", rank, token);
    return *id;
  };
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left_text, right_text] = merges[rank];
    const int32_t left = id_of(left_text, rank), right = id_of(right_text, rank);
    // the prefix of the right part is only a mark of its position
    merged.assign(left_text).append(right_text.substr(std::min(prefix.size(), right_text.size())));
    size_t slot = hash_pair(left, right) & mask;
    while (table[slot].left >= 0 && (table[slot].left != left || table[slot].right != right))
      slot = (slot + 1) & mask;
    table[slot] = {left, right, int32_t(rank),
                   id_of(merged, rank)};  // of two equal pairs the last one counts
  }
  return table;
}

}  // namespace

Bpe::Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)),
      merges_(build_merge_table(vocabulary_, merges, options.continuing_subword_prefix)),
      options_(std::move(options)) {
  prepare();
}

Bpe::Bpe(Vocabulary vocabulary, std::vector<MergeSlot> merge_table, BpeOptions options)
    : vocabulary_(std::move(vocabulary)), merges_(std::move(merge_table)), options_(std::move(options)) {
  bool good = std::has_single_bit(merges_.size());
  size_t used = 0;
  const int32_t limit = vocabulary_.id_limit();
  for (const MergeSlot& merge : merges_) {
    if (merge.left == -1) continue;
    ++used;
    good &= merge.left >= 0 && merge.left < limit && merge.right >= 0 && merge.right < limit;
    good &= merge.result >= 0 && merge.result < limit && merge.rank >= 0 && merge.rank < kNoRank;
  }
  if (!good || 2 * used > merges_.size()) fail(ErrorCode::invalid_input, "compiled merges are damaged");
  prepare();
}

void Bpe::prepare() {
  if (options_.unk_token) {
    const std::optional<int32_t> id = vocabulary_.find(*options_.unk_token);
    if (!id)
      fail(ErrorCode::invalid_input, "unknown token \"{}\" is not in the vocabulary", *options_.unk_token);
    unk_id_ = *id;
  }
  const bool decorated = !options_.continuing_subword_prefix.empty() || !options_.end_of_word_suffix.empty();
  for (size_t byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_level_character(uint8_t(byte)));
    // with a prefix or suffix a character's token depends on its place: take the general way
    byte_level_ids_[byte] = decorated ? -1 : vocabulary_.find(character).value_or(-1);
    fallback_ids_[byte] = vocabulary_.find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

const MergeSlot* Bpe::find_merge(int32_t left, int32_t right) const {
  const size_t mask = merges_.size() - 1;
  size_t slot = hash_pair(left, right) & mask;
  while (merges_[slot].left >= 0) {
    if (merges_[slot].left == left && merges_[slot].right == right) return &merges_[slot];
    slot = (slot + 1) & mask;
  }
  return nullptr;
}

void Bpe::encode(std::string_view piece, bool byte_level, std::vector<int32_t>& ids, Scratch& scratch) const {
  if (piece.empty()) return;
  std::string_view characters = piece;
  bool direct = byte_level;
  for (const char byte : piece) direct = direct && byte_level_ids_[uint8_t(byte)] >= 0;
  if (byte_level && (options_.ignore_merges || !direct)) {
    scratch.text.clear();
    append_byte_level(scratch.text, piece);
    characters = scratch.text;
  }
  if (options_.ignore_merges) {
    if (const std::optional<int32_t> id = vocabulary_.find(characters)) {
      ids.push_back(*id);
      return;
    }
  }
  scratch.ids.clear();
  if (direct) {
    for (const char byte : piece) scratch.ids.push_back(byte_level_ids_[uint8_t(byte)]);
  } else {
    split_characters(characters, scratch);
  }
  checked_cast<int32_t>(scratch.ids.size(), "symbols in one piece of text");
  if (scratch.ids.size() <= kShortPiece) {
    merge_short(ids, scratch);
  } else {
    merge_long(ids, scratch);
  }
}

// The initial symbols, as `tokenizers` finds them: an unknown character waits until the next known one, so
// that a run can be fused; bytes of the fallback do not end that wait.
void Bpe::split_characters(std::string_view piece, Scratch& scratch) const {
  std::vector<int32_t>& ids = scratch.ids;
  bool unknown_waits = false;
  std::string decorated;
  for (size_t at = 0; at < piece.size();) {
    const size_t begin = at;
    take_code_point(piece, at);
    const std::string_view character = piece.substr(begin, at - begin);
    std::string_view symbol = character;
    const bool prefixed = begin > 0 && !options_.continuing_subword_prefix.empty();
    const bool suffixed = at == piece.size() && !options_.end_of_word_suffix.empty();
    if (prefixed || suffixed) {
      decorated = prefixed ? options_.continuing_subword_prefix : std::string();
      decorated += character;
      if (suffixed) decorated += options_.end_of_word_suffix;
      symbol = decorated;
    }
    if (const std::optional<int32_t> id = vocabulary_.find(symbol)) {
      if (unknown_waits) ids.push_back(unk_id_);
      unknown_waits = false;
      ids.push_back(*id);
    } else if (options_.byte_fallback && append_fallback_bytes(symbol, ids)) {
      continue;
    } else if (unk_id_ >= 0) {
      if (unknown_waits && !options_.fuse_unk) ids.push_back(unk_id_);
      unknown_waits = true;
    }
  }
  if (unknown_waits) ids.push_back(unk_id_);
}

bool Bpe::append_fallback_bytes(std::string_view character, std::vector<int32_t>& ids) const {
  for (const char byte : character) {
    if (fallback_ids_[uint8_t(byte)] < 0) return false;
  }
  for (const char byte : character) ids.push_back(fallback_ids_[uint8_t(byte)]);
  return true;
}

// Merges scratch.ids in place: the lowest rank first, the leftmost of equals.
void Bpe::merge_short(std::vector<int32_t>& ids, Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.ids;
  std::vector<int32_t>& ranks = scratch.ranks;  // ranks[i]: of the pair (i, i + 1)
  size_t count = symbols.size();
  const auto rank_at = [&](size_t i) {
    const MergeSlot* merge = find_merge(symbols[i], symbols[i + 1]);
    return merge ? merge->rank : kNoRank;
  };
  ranks.resize(count);
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = rank_at(i);
  while (count > 1) {
    const auto best = std::min_element(ranks.begin(), ranks.begin() + std::ptrdiff_t(count - 1));
    if (*best == kNoRank) break;
    const size_t at = size_t(best - ranks.begin());
    symbols[at] = find_merge(symbols[at], symbols[at + 1])->result;
    std::move(symbols.begin() + std::ptrdiff_t(at) + 2, symbols.begin() + std::ptrdiff_t(count),
              symbols.begin() + std::ptrdiff_t(at) + 1);
    std::move(ranks.begin() + std::ptrdiff_t(at) + 2, ranks.begin() + std::ptrdiff_t(count),
              ranks.begin() + std::ptrdiff_t(at) + 1);
    --count;
    if (at > 0) ranks[at - 1] = rank_at(at - 1);
    if (at + 1 < count) ranks[at] = rank_at(at);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + std::ptrdiff_t(count));
}

// The same with a linked list of symbols and a heap of candidate merges.
void Bpe::merge_long(std::vector<int32_t>& ids, Scratch& scratch) const {
  auto& symbols = scratch.symbols;
  auto& heap = scratch.heap;
  const int32_t count = int32_t(scratch.ids.size());
  symbols.clear();
  heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    symbols.push_back({scratch.ids[size_t(i)], i - 1, i + 1 < count ? i + 1 : -1, true});
  }
  const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto push = [&](int32_t position) {
    const int32_t next = symbols[size_t(position)].next;
    if (next < 0) return false;
    const MergeSlot* merge = find_merge(symbols[size_t(position)].id, symbols[size_t(next)].id);
    if (merge) heap.push_back({merge->rank, position, merge->result});
    return merge != nullptr;
  };
  for (int32_t i = 0; i < count; ++i) push(i);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const Scratch::Candidate candidate = heap.back();
    heap.pop_back();
    Scratch::Symbol& left = symbols[size_t(candidate.position)];
    if (!left.alive || left.next < 0) continue;
    Scratch::Symbol& right = symbols[size_t(left.next)];
    const MergeSlot* merge = find_merge(left.id, right.id);
    if (!merge || merge->result != candidate.result) continue;  // a neighbour has changed since
    left.id = merge->result;
    left.next = right.next;
    right.alive = false;
    if (right.next >= 0) symbols[size_t(right.next)].previous = candidate.position;
    if (left.previous >= 0 && push(left.previous)) std::push_heap(heap.begin(), heap.end(), later);
    if (push(candidate.position)) std::push_heap(heap.begin(), heap.end(), later);
  }
  for (int32_t i = 0; i >= 0; i = symbols[size_t(i)].next) ids.push_back(symbols[size_t(i)].id);
}

}  // namespace lathe::text
