// Text to token ids and back, exactly as a Hugging Face tokenizer.json says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace lathe::text {

// Immutable: all const members may be called from many threads at once. Cheap to copy (copies share).
//
// Which tokens begin and end a text or a generation is not known here but in the model's contract;
// `truncation` and `padding` of the file are left to the caller. BPE models only: others throw unsupported,
// by name.
class Tokenizer {
 public:
  // Throws invalid_input, unsupported (a component that is not known, by name).
  // Prefer from_text: a tree of a large vocabulary is slow to build.
  static Tokenizer from_json(const Json& tokenizer);
  static Tokenizer from_text(std::string_view tokenizer_json, std::string_view name = "tokenizer.json");

  // A compiled form that loads several times faster. Any bytes either load or throw invalid_input; a form of
  // another version throws unsupported.
  std::string serialize() const;
  static Tokenizer deserialize(std::span<const std::byte> compiled);

  // Special tokens in the text are recognised. `add_special` adds those of the post-processor around it.
  // Throws invalid_input for text that is not UTF-8.
  std::vector<int32_t> encode(std::string_view text, bool add_special) const;
  // Ids without a token are left out; bytes that are no UTF-8 become U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  // The token as the file spells it (bytes as byte-level characters, for instance).
  std::optional<std::string> id_to_token(int32_t id) const;
  bool is_special(int32_t id) const;
  // Added tokens as the file spells them, special ones included.
  std::vector<std::pair<std::string, int32_t>> added_tokens() const;
  size_t vocab_size() const;  // number of tokens, added ones included
  int32_t id_limit() const;   // highest id + 1

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;  // shared: immutable, and sessions outlive the loader
};

// decode(), one id at a time: the texts returned by all push() calls and finish(), joined, are what decode()
// gives for all ids. No text ends inside a character. For one thread; keeps the tokenizer alive.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, bool skip_special);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  // The text that has become certain; may be empty.
  std::string push(int32_t id);
  // The rest; an incomplete character becomes U+FFFD. Nothing may be pushed afterwards.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lathe::text
