// The "decoder" of a tokenizer.json: from tokens back to text, a token at a time.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

namespace lathe::text {

// Where a stage of a decoder puts its result: text of the current token, which may come in several parts, and
// the end of that token. All text is valid UTF-8 and no part splits a character.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void text(std::string_view part) = 0;
  virtual void end_token() = 0;
  // Nothing more comes.
  virtual void finish() = 0;
};

// One kind of decoder. It holds what was configured; begin() makes the state of one decoding.
class Decoder {
 public:
  virtual ~Decoder() = default;
  // A stage that reads tokens and writes what they become to `next`. It emits text as early as no later token
  // can change it any more. The decoder and `next` must outlive it.
  virtual std::unique_ptr<TokenSink> begin(TokenSink& next) const = 0;
};

// Null: tokens are joined by spaces. Throws invalid_input; unsupported, by name, for a kind that is not
// known.
std::unique_ptr<const Decoder> make_decoder(const Json& config);

}  // namespace lathe::text
