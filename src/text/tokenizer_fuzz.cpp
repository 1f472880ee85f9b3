// Input: a tokenizer.json or a compiled tokenizer, then optionally a zero byte and a text.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lathe;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const bool compiled = input.starts_with("LTHTOK");
  const size_t cut = compiled ? input.npos : input.find('\0');
  const std::string_view text = cut == input.npos ? "Hello w\xC3\xB6rld 123  <s>\n" : input.substr(cut + 1);
  try {
    const text::Tokenizer tokenizer = compiled ? text::Tokenizer::deserialize(std::as_bytes(std::span(input)))
                                               : text::Tokenizer::from_text(input.substr(0, cut));
    const auto ids = tokenizer.encode(text, true);
    const std::string decoded = tokenizer.decode(ids, false);
    LATHE_CHECK(text::valid_utf8_prefix(decoded) == decoded.size());
    const std::string bytes = tokenizer.serialize();
    LATHE_CHECK(text::Tokenizer::deserialize(std::as_bytes(std::span(bytes))).encode(text, true) == ids);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) __builtin_trap();
  }
  return 0;
}
