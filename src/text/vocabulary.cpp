#include "text/vocabulary.h"

#include <bit>
#include <cstring>

#include "base/checked.h"
#include "base/error.h"

namespace lathe::text {
namespace {

constexpr int64_t kMaxId = 1 << 24;  // 64 times the largest vocabulary seen

__extension__ using Uint128 = unsigned __int128;

uint64_t fold_multiply(uint64_t a, uint64_t b) {
  const Uint128 product = Uint128(a) * b;
  return uint64_t(product) ^ uint64_t(product >> 64);
}

uint64_t load(const char* bytes, size_t count) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, count);
  return word;
}

}  // namespace

// The result is stored in compiled tokenizers: a change here needs a new format version.
uint64_t hash_bytes(std::string_view bytes) {
  constexpr uint64_t kOdd1 = 0x9E3779B97F4A7C15u, kOdd2 = 0xD6E8FEB86659FD93u;
  uint64_t hash = bytes.size() * kOdd2 ^ kOdd1;
  while (bytes.size() > 8) {
    hash = fold_multiply(hash ^ load(bytes.data(), 8), kOdd1);
    bytes.remove_prefix(8);
  }
  return fold_multiply(hash ^ load(bytes.data(), bytes.size()), kOdd2);
}

Vocabulary::Vocabulary(const std::vector<std::pair<std::string_view, int64_t>>& tokens)
    : count_(tokens.size()) {
  int64_t limit = 0;
  uint64_t total_bytes = 0;
  for (const auto& [token, id] : tokens) {
    if (id < 0 || id >= kMaxId)
      fail(ErrorCode::invalid_input, "token \"{}\": id {} is out of range", token, id);
    limit = std::max(limit, id + 1);
    total_bytes += token.size();
  }
  checked_cast<uint32_t>(total_bytes, "bytes of all tokens");
  std::vector<const std::string_view*> by_id{size_t(limit)};
  for (const auto& [token, id] : tokens) {
    if (by_id[size_t(id)]) {
      fail(ErrorCode::invalid_input, "tokens \"{}\" and \"{}\" have the same id {}", *by_id[size_t(id)],
           token, id);
    }
    by_id[size_t(id)] = &token;
  }
  bytes_.reserve(total_bytes);
  ends_.reserve(size_t(limit));
  for (const std::string_view* token : by_id) {
    if (token) bytes_ += *token;
    ends_.push_back(uint32_t(bytes_.size()));
  }
  slots_.assign(std::bit_ceil(2 * tokens.size() + 1), -1);
  const size_t mask = slots_.size() - 1;
  for (const auto& [token, id] : tokens) {
    if (token.empty()) continue;
    size_t slot = hash_bytes(token) & mask;
    while (slots_[slot] >= 0) {
      if (this->token(slots_[slot]) == token) {
        fail(ErrorCode::invalid_input, "token \"{}\" appears twice, with ids {} and {}", token, slots_[slot],
             id);
      }
      slot = (slot + 1) & mask;
    }
    slots_[slot] = int32_t(id);
  }
}

Vocabulary::Vocabulary(std::string bytes, std::vector<uint32_t> ends, std::vector<int32_t> slots,
                       size_t count)
    : bytes_(std::move(bytes)), ends_(std::move(ends)), slots_(std::move(slots)), count_(count) {
  bool good = std::has_single_bit(slots_.size()) && ends_.size() <= size_t(kMaxId);
  uint32_t previous = 0;
  for (const uint32_t end : ends_) {
    good &= end >= previous;
    previous = end;
  }
  good = good && previous == bytes_.size();
  size_t used = 0;
  for (const int32_t id : slots_) {
    good &= id >= -1 && id < int64_t(ends_.size());
    used += id >= 0;
  }
  good = good && 2 * used <= slots_.size() && count_ >= used && count_ <= size_t(kMaxId);
  if (!good) fail(ErrorCode::invalid_input, "compiled vocabulary is damaged");
}

std::optional<int32_t> Vocabulary::find(std::string_view token) const {
  if (slots_.empty() || token.empty()) return std::nullopt;
  const size_t mask = slots_.size() - 1;
  size_t slot = hash_bytes(token) & mask;
  while (slots_[slot] >= 0) {
    if (this->token(slots_[slot]) == token) return slots_[slot];
    slot = (slot + 1) & mask;
  }
  return std::nullopt;
}

std::string_view Vocabulary::token(int32_t id) const {
  if (id < 0 || size_t(id) >= ends_.size()) return {};
  const uint32_t begin = id == 0 ? 0 : ends_[size_t(id) - 1];
  return std::string_view(bytes_).substr(begin, ends_[size_t(id)] - begin);
}

}  // namespace lathe::text
