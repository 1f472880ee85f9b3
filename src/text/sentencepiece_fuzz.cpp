// Input: a tokenizer.model.
#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const auto file = std::as_bytes(std::span(data, size));
  try {
    const auto tokenizer = text::Tokenizer::from_json(text::tokenizer_json_from_sentencepiece(file, "tokenizer.model"));
    const auto ids = tokenizer.encode("ban [X]b<s>   w\xC3\xB6rld 123\n", true);
    const std::string decoded = tokenizer.decode(ids, false);
    LATHE_CHECK(text::valid_utf8_prefix(decoded) == decoded.size());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
