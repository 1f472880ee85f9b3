// Tokens by id and ids by token, in flat arrays that are written to disk and read back as they are.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lathe::text {

uint64_t hash_bytes(std::string_view bytes);

class Vocabulary {
 public:
  Vocabulary() = default;
  // Throws invalid_input for negative or huge ids and for a token or an id that appears twice.
  explicit Vocabulary(const std::vector<std::pair<std::string_view, int64_t>>& tokens);

  // From the arrays and the size of another Vocabulary; invalid_input when they do not fit together.
  Vocabulary(std::string bytes, std::vector<uint32_t> ends, std::vector<int32_t> slots, size_t count);

  std::optional<int32_t> find(std::string_view token) const;
  // The token; empty for an id that has none or is out of range.
  std::string_view token(int32_t id) const;
  size_t size() const { return count_; }                      // number of tokens
  int32_t id_limit() const { return int32_t(ends_.size()); }  // highest id + 1

  const std::string& bytes() const { return bytes_; }
  const std::vector<uint32_t>& ends() const { return ends_; }
  const std::vector<int32_t>& slots() const { return slots_; }

 private:
  std::string bytes_;           // the tokens one after another, by id
  std::vector<uint32_t> ends_;  // by id: where its token ends in bytes_; it begins where the one before ends
  std::vector<int32_t> slots_;  // open addressing, a power of two; -1 is free, at least half are
  size_t count_ = 0;
};

}  // namespace lathe::text
