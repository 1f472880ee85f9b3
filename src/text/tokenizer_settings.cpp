#include "text/tokenizer_settings.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "text/added_tokens.h"

namespace lathe::text {
namespace {

constexpr std::string_view kAddedName = "added_tokens.json", kConfigName = "tokenizer_config.json",
                           kMapName = "special_tokens_map.json";
constexpr int32_t kControlPiece = 3;

Json object_of(std::string_view text, std::string_view name) {
  if (text.empty()) return Json::object();
  Json json = parse_json(text, name);
  if (!json.is_object()) fail(ErrorCode::invalid_input, "{}: expected an object, found {}", name, json.type_name());
  return json;
}

// A token is written as its text, or as an object with a "content"; empty for null and what is neither.
std::string content_of(const Json* token) {
  if (token && token->is_object()) return find_string(*token, "content").value_or("");
  return token && token->is_string() ? token->get<std::string>() : "";
}

// {"bos_token": .., "additional_special_tokens": [..]}
void collect_special(const Json& object, std::set<std::string>& special) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
    special.insert(content_of(find_member(object, key)));
  }
  if (const Json* more = find_member(object, "additional_special_tokens"); more && more->is_array()) {
    for (const Json& token : *more) special.insert(content_of(&token));
  }
}

struct Named {
  std::string_view file;
  Json token;
};

// Ids of both files in order; where both have one, the config says how it is found.
std::map<int64_t, Named> added_tokens_of(const Json& added, const Json& config, const std::set<std::string>& special) {
  std::map<int64_t, Named> tokens;
  for (const auto& [content, id] : added.items()) {
    if (!id.is_number_integer()) {
      fail(ErrorCode::invalid_input, "{}: \"{}\": expected an id, found {}", kAddedName, content, id.dump());
    }
    AddedToken token;
    token.content = content;
    token.special = special.contains(content);
    tokens[id.get<int64_t>()] = {kAddedName, to_json(token)};
  }
  const Json* decoder = find_member(config, "added_tokens_decoder");
  if (!decoder) return tokens;
  if (!decoder->is_object()) {
    fail(ErrorCode::invalid_input, "{}: added_tokens_decoder: expected an object", kConfigName);
  }
  for (const auto& [key, value] : decoder->items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || !value.is_object()) {
      fail(ErrorCode::invalid_input, "{}: added_tokens_decoder: \"{}\": expected an id and an object", kConfigName,
           key);
    }
    Json token = value;
    token["id"] = 0;
    const auto known = tokens.find(id);
    token = with_context(kConfigName, [&] { return to_json(added_token_from_json(token)); });
    if (known != tokens.end() && known->second.token["content"] != token["content"]) {
      fail(ErrorCode::unsupported, "{} and {}: token {} is {} and {}", kAddedName, kConfigName, id,
           known->second.token["content"].dump(), token["content"].dump());
    }
    tokens[id] = {kConfigName, std::move(token)};
  }
  return tokens;
}

void append(GgufTokenizer& tokenizer, int64_t id, Named named) {
  const std::string content = named.token["content"].get<std::string>();
  const size_t count = tokenizer.tokens.size();
  if (id < 0 || size_t(id) > count) {
    fail(ErrorCode::unsupported, "{}: token {} (\"{}\"), where {} comes after the pieces and tokens below it",
         named.file, id, content, count);
  }
  if (size_t(id) < count && tokenizer.tokens[size_t(id)] != content) {
    fail(ErrorCode::unsupported, "{}: token {} is \"{}\", of the pieces it is \"{}\"", named.file, id, content,
         tokenizer.tokens[size_t(id)]);
  }
  if (size_t(id) == count) {
    tokenizer.tokens.push_back(content);
    tokenizer.scores.push_back(0);
    tokenizer.token_type.push_back(kControlPiece);  // not merged to
  }
  named.token["id"] = id;
  tokenizer.added[size_t(id)] = std::move(named.token);
}

// The config may say that another token than the pieces' own begins or ends a text.
void set_frame(const GgufTokenizer& tokenizer, const Json& config, const std::string& name, std::optional<int64_t>& id,
               std::optional<bool>& adds) {
  if (const auto stated = find_bool(config, "add_" + name)) adds = *stated;
  const std::string content = content_of(find_member(config, name));
  if (content.empty()) return;
  const auto found = std::find(tokenizer.tokens.begin(), tokenizer.tokens.end(), content);
  if (found != tokenizer.tokens.end()) {
    id = found - tokenizer.tokens.begin();
  } else if (adds.value_or(false)) {
    fail(ErrorCode::unsupported, "{} \"{}\" is no token", name, content);
  }
}

}  // namespace

void apply_settings(GgufTokenizer& tokenizer, const TokenizerSettings& settings) {
  const Json config = object_of(settings.tokenizer_config, kConfigName);
  const size_t pieces = tokenizer.tokens.size();
  std::set<std::string> special;
  collect_special(config, special);
  collect_special(object_of(settings.special_tokens_map, kMapName), special);
  for (auto& [id, named] : added_tokens_of(object_of(settings.added_tokens, kAddedName), config, special)) {
    append(tokenizer, id, std::move(named));
  }
  if (tokenizer.tokens.size() > pieces && tokenizer.add_space_prefix.value_or(true) &&
      find_bool(config, "legacy") == false) {
    fail(ErrorCode::unsupported,
         "{}: legacy = false beside {} added tokens: only a space in front of each text between "
         "them is known",
         kConfigName, tokenizer.tokens.size() - pieces);
  }
  with_context(kConfigName, [&] {
    set_frame(tokenizer, config, "bos_token", tokenizer.bos_token_id, tokenizer.add_bos_token);
    set_frame(tokenizer, config, "eos_token", tokenizer.eos_token_id, tokenizer.add_eos_token);
  });
}

}  // namespace lathe::text
