#include "verify/compare_contracts.h"

#include <algorithm>
#include <optional>
#include <set>

#include "base/fields.h"
#include "text/tokenizer.h"
#include "verify/default_text.h"

namespace lathe::verify {
namespace {

using plan::EngineFile;

// Of the contract: they say where a model comes from and how it is used, not what it is. `tokenizer_asset` is a file
// name; the tokenizers themselves are compared.
const std::set<std::string> kIncidental = {"name",      "licence",    "source",         "architecture",
                                           "precision", "generation", "tokenizer_asset"};

// Short enough for one line: templates have thousands of characters.
std::string shortened(const Json& value) {
  constexpr size_t kLongest = 40;
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() <= kLongest) return text;
  return fmt::format("{} characters", text.size());
}

// The order of end tokens means nothing, nor does white space at a template's ends.
Json normalised(const std::string& field, Json value) {
  if (field == "eos_ids") std::sort(value.begin(), value.end());
  if (field == "chat_template") {
    const auto text = value.get<std::string>();
    const size_t begin = text.find_first_not_of(" \n\t");
    value = begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \n\t") - begin + 1);
  }
  return value;
}

void compare_fields(const EngineFile& a, const EngineFile& b, std::vector<std::string>& differences) {
  const Json json_a = to_json(a.manifest().contract);
  const Json json_b = to_json(b.manifest().contract);
  for (const auto& [field, value] : json_a.items()) {
    if (kIncidental.contains(field)) continue;
    const Json& other = json_b.at(field);
    if (normalised(field, value) == normalised(field, other)) continue;
    differences.push_back(fmt::format("{}: {} against {}", field, shortened(value), shortened(other)));
  }
}

// Pieces that tokenizers treat differently when a part of theirs does: digits, runs of white space, scripts, bytes.
constexpr std::string_view kPieces =
    "Hello, world! It's 2024-01-31; 1234567 + 3.14e-10 = ?\n\n\ttabs,  runs   of    blanks \r\n"
    "def f(x):\n    return {'a': x ** 2}  # \xc3\xa9\xc3\xa0\xc3\xbc \xe4\xbd\xa0\xe5\xa5\xbd \xd0\x9f\xd1\x80\xd0\xb8 "
    "\xf0\x9f\x99\x82 https://example.org/?q=1&r=%20\n";

// The forms of two files differ in bytes where the tokens are the same, so behaviour decides: every token, and how
// text falls into tokens. The first difference is enough.
std::optional<std::string> tokenizer_difference(const EngineFile& a, const EngineFile& b) {
  const auto bytes_a = a.find_asset("tokenizer.compiled");
  const auto bytes_b = b.find_asset("tokenizer.compiled");
  if (std::equal(bytes_a.begin(), bytes_a.end(), bytes_b.begin(), bytes_b.end())) return std::nullopt;
  if (bytes_a.empty() || bytes_b.empty()) {
    return fmt::format("tokenizer: only {} has one", bytes_a.empty() ? "B" : "A");
  }
  const auto one = text::Tokenizer::deserialize(bytes_a);
  const auto other = text::Tokenizer::deserialize(bytes_b);
  for (int32_t id = 0; id < std::max(one.id_limit(), other.id_limit()); ++id) {
    const auto token = one.id_to_token(id);
    const auto others = other.id_to_token(id);
    if (token != others) {
      return fmt::format("tokenizer: token {} is \"{}\" against \"{}\"", id, token.value_or("absent"),
                         others.value_or("absent"));
    }
    if (one.is_special(id) != other.is_special(id)) {
      return fmt::format("tokenizer: token {} is special in {} only", id, one.is_special(id) ? "A" : "B");
    }
  }
  for (const std::string_view text : {kPieces, kDefaultText}) {
    for (const bool special : {false, true}) {
      const auto ids = one.encode(text, special);
      const auto others = other.encode(text, special);
      if (ids == others) continue;
      const auto at = std::mismatch(ids.begin(), ids.end(), others.begin(), others.end()).first - ids.begin();
      return fmt::format("tokenizer: a text gives {} tokens against {}, they differ from place {} on", ids.size(),
                         others.size(), at);
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<std::string> contract_differences(const EngineFile& a, const EngineFile& b) {
  std::vector<std::string> differences;
  compare_fields(a, b, differences);
  if (auto difference = tokenizer_difference(a, b)) differences.push_back(std::move(*difference));
  return differences;
}

}  // namespace lathe::verify
