#include "text/clip_tokenizer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "text/added_tokens.h"
#include "text/tokenizer_source.h"

namespace lathe::text {
namespace {

constexpr std::string_view kStart = "<|startoftext|>", kEnd = "<|endoftext|>";

// The named special tokens, in the order in which transformers adds them.
struct SpecialName {
  std::string_view key;
  std::string_view content;
};
constexpr std::array<SpecialName, 4> kSpecials = {
    {{"bos_token", kStart}, {"eos_token", kEnd}, {"unk_token", kEnd}, {"pad_token", kEnd}}};

Json parse_or_empty(std::string_view text, std::string_view name) {
  if (text.empty()) return Json::object();
  Json json = parse_json(text, name);
  if (!json.is_object()) fail(ErrorCode::invalid_input, "{}: expected an object, found {}", name, json.type_name());
  return json;
}

// A token written as its text, or as an object with flags.
AddedToken special_token(const Json& json, std::string_view key) {
  AddedToken token;
  token.special = true;
  if (json.is_string()) {
    token.content = json.get<std::string>();
  } else if (json.is_object()) {
    token.content = get_string(json, "content");
    token.single_word = find_bool(json, "single_word").value_or(false);
    token.lstrip = find_bool(json, "lstrip").value_or(false);
    token.rstrip = find_bool(json, "rstrip").value_or(false);
    token.normalized = find_bool(json, "normalized").value_or(true);
    token.special = find_bool(json, "special").value_or(true);
  } else {
    fail(ErrorCode::invalid_input, "{}: expected a token, found {}", key, json.type_name());
  }
  return token;
}

// The special tokens and the added ones, as transformers puts them together.
class TokenList {
 public:
  explicit TokenList(const ClipTokenizerFiles& files)
      : config_(parse_or_empty(files.tokenizer_config, "tokenizer_config.json")),
        map_(parse_or_empty(files.special_tokens_map, "special_tokens_map.json")) {
    if (const Json* listed = find_member(config_, "added_tokens_decoder")) {
      map_ = Json::object();  // newer files say everything in tokenizer_config.json
      for (const auto& [id, token] : listed->items()) put(special_token(token, "added_tokens_decoder"), true);
    }
    const Json added = parse_or_empty(files.added_tokens, "added_tokens.json");
    for (const auto& [content, id] : added.items()) {
      AddedToken token;
      token.content = content;
      token.normalized = true;
      put(token, false);
    }
    for (const SpecialName& name : kSpecials) put(special(name), false);
    for (const Json* source : {&config_, &map_}) {
      const Json* more = find_member(*source, "additional_special_tokens");
      if (!more) continue;
      if (!more->is_array()) fail(ErrorCode::invalid_input, "additional_special_tokens: expected a list");
      for (const Json& token : *more) put(special_token(token, "additional_special_tokens"), false);
    }
  }

  AddedToken special(const SpecialName& name) const {
    for (const Json* source : {&map_, &config_}) {
      if (const Json* token = find_member(*source, name.key)) return special_token(*token, name.key);
    }
    return special_token(Json(std::string(name.content)), name.key);
  }
  AddedToken special(std::string_view key) const {
    return special(*std::ranges::find(kSpecials, key, &SpecialName::key));
  }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  std::optional<int64_t> max_length() const {
    // Transformers writes 1e30 for "none".
    const Json* length = find_member(config_, "model_max_length");
    if (!length || !length->is_number_integer() || *length > 1'000'000) return std::nullopt;
    if (*length < 3) fail(ErrorCode::invalid_input, "model_max_length: {} leaves no room for a prompt", length->dump());
    return length->get<int64_t>();
  }

 private:
  // A content that comes twice has the later flags, unless the first were `final`.
  void put(const AddedToken& token, bool final) {
    const auto known = std::ranges::find(tokens_, token.content, &AddedToken::content);
    if (known == tokens_.end()) {
      tokens_.push_back(token);
      if (final) finals_.push_back(token.content);
    } else if (std::ranges::count(finals_, token.content) == 0) {
      *known = token;
    }
  }

  Json config_, map_;
  std::vector<AddedToken> tokens_;
  std::vector<std::string> finals_;
};

// merges.txt as a JSON list: a line each, but for the "#version" at its top.
std::string merges_json(std::string_view merges) {
  std::string list = "[";
  bool first_line = true;
  while (!merges.empty()) {
    const size_t end = merges.find('\n');
    std::string_view line = merges.substr(0, end);
    merges.remove_prefix(end == std::string_view::npos ? merges.size() : end + 1);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    const bool header = first_line && line.starts_with("#version");
    first_line = false;
    if (header || line.empty()) continue;
    if (list.size() > 1) list += ',';
    list += Json(std::string(line)).dump();
  }
  return list + "]";
}

// Ids of the vocabulary, or the next free ones, for tokens in order.
class Ids {
 public:
  Ids(std::string_view vocab, const std::vector<AddedToken>& tokens)
      : text_(fmt::format("{{\"model\":{{\"vocab\":{},\"merges\":[]}}}}", vocab)),
        source_(read_tokenizer_source(text_, "vocab.json")) {
    if (!source_.has_vocab) fail(ErrorCode::invalid_input, "vocab.json: expected an object");
    auto next = int64_t(source_.vocab.size());
    for (const AddedToken& token : tokens) {
      const auto known = std::ranges::find(source_.vocab, token.content, [](const auto& pair) { return pair.first; });
      const int64_t id = known == source_.vocab.end() ? next : known->second;
      next = std::max(next, id + 1);
      ids_.emplace_back(token.content, id);
    }
  }
  int64_t of(std::string_view content) const {
    return std::ranges::find(ids_, content, [](const auto& pair) -> std::string_view { return pair.first; })->second;
  }

 private:
  std::string text_;
  TokenizerSource source_;
  std::vector<std::pair<std::string, int64_t>> ids_;
};

Json pattern(std::string_view kind, std::string_view text) {
  return {{std::string(kind), text}};
}

}  // namespace

std::string clip_tokenizer_json(const ClipTokenizerFiles& files) {
  const TokenList list(files);
  const Ids ids(files.vocab, list.tokens());
  const AddedToken bos = list.special("bos_token"), eos = list.special("eos_token");

  Json rest = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  rest["added_tokens"] = Json::array();
  for (AddedToken token : list.tokens()) {
    token.id = int32_t(ids.of(token.content));
    rest["added_tokens"].push_back(to_json(token));
  }
  rest["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers", Json::array({{{"type", "NFC"}},
                                   {{"type", "Replace"}, {"pattern", pattern("Regex", "\\s+")}, {"content", " "}},
                                   {{"type", "Lowercase"}}})}};
  // Contractions, words, single digits, runs of anything else.
  constexpr std::string_view kWords =
      R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";
  rest["pre_tokenizer"] = {
      {"type", "Sequence"},
      {"pretokenizers",
       Json::array(
           {{{"type", "Split"}, {"pattern", pattern("Regex", kWords)}, {"behavior", "Removed"}, {"invert", true}},
            {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}})}};
  rest["post_processor"] = {{"type", "RobertaProcessing"},
                            {"sep", Json::array({eos.content, ids.of(eos.content)})},
                            {"cls", Json::array({bos.content, ids.of(bos.content)})},
                            {"trim_offsets", false},
                            {"add_prefix_space", false}};
  rest["decoder"] = {
      {"type", "Sequence"},
      {"decoders",
       Json::array({{{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}},
                    {{"type", "Replace"}, {"pattern", pattern("String", "</w>")}, {"content", " "}}})}};
  // The vocabulary goes over as text: a tree of 49,408 keys is slow.
  std::string text = rest.dump();
  text.pop_back();
  return fmt::format(
      R"({},"model":{{"type":"BPE","dropout":null,"unk_token":{},"continuing_subword_prefix":"",)"
      R"("end_of_word_suffix":"</w>",)"
      R"("fuse_unk":false,"byte_fallback":false,"ignore_merges":false,"vocab":{},"merges":{}}}}})",
      text, Json(list.special("unk_token").content).dump(), files.vocab, merges_json(files.merges));
}

namespace {

// What follows each token that has NAME_1 among the added ones.
std::map<int32_t, std::vector<int32_t>> find_followers(const Tokenizer& tokenizer) {
  std::map<std::string, int32_t> added;
  for (auto& [content, id] : tokenizer.added_tokens()) added.emplace(std::move(content), id);
  std::map<int32_t, std::vector<int32_t>> followers;
  for (const auto& [content, id] : added) {
    for (int i = 1;; ++i) {
      const auto next = added.find(fmt::format("{}_{}", content, i));
      if (next == added.end()) break;
      followers[id].push_back(next->second);
    }
  }
  return followers;
}

}  // namespace

std::vector<int32_t> ClipTokenizer::encode(std::string_view text) const {
  std::vector<int32_t> ids = tokenizer.encode(text, false);
  if (followers.empty()) return ids;
  std::vector<int32_t> all;
  for (const int32_t id : ids) {
    all.push_back(id);
    if (const auto more = followers.find(id); more != followers.end()) {
      all.insert(all.end(), more->second.begin(), more->second.end());
    }
  }
  return all;
}

void add_clip_tokens(ClipTokenizerFiles& files, const std::vector<std::string>& contents) {
  const Tokenizer before = make_clip_tokenizer(files).tokenizer;
  const bool ready = !files.tokenizer.empty();
  Json json =
      ready ? parse_json(files.tokenizer, "tokenizer.json") : parse_or_empty(files.added_tokens, "added_tokens.json");
  Json* list = ready ? &json["added_tokens"] : &json;
  if (ready && list->is_null()) *list = Json::array();
  int64_t next = before.id_limit();
  for (const std::string& content : contents) {
    if (content.empty() || before.token_to_id(content)) {
      fail(ErrorCode::usage, "the vocabulary has a token \"{}\" already", content);
    }
    AddedToken token;
    token.id = int32_t(next++);
    token.content = content;
    token.normalized = true;
    if (ready) {
      list->push_back(to_json(token));
    } else {
      (*list)[content] = token.id;
    }
  }
  (ready ? files.tokenizer : files.added_tokens) = json.dump();
}

ClipTokenizer make_clip_tokenizer(const ClipTokenizerFiles& files) {
  const bool ready = !files.tokenizer.empty();
  ClipTokenizer clip{Tokenizer::from_text(ready ? files.tokenizer : clip_tokenizer_json(files)), 0, 0, 0, {}, {}};
  const TokenList list(files);
  const auto id_of = [&](std::string_view key) {
    const std::string content = list.special(key).content;
    const std::optional<int32_t> id = clip.tokenizer.token_to_id(content);
    if (!id) fail(ErrorCode::invalid_input, "{}: \"{}\" is not in the vocabulary", key, content);
    return *id;
  };
  clip.bos_id = id_of("bos_token");
  clip.eos_id = id_of("eos_token");
  clip.pad_id = id_of("pad_token");
  clip.max_length = list.max_length();
  clip.followers = find_followers(clip.tokenizer);
  return clip;
}

ClipTokenizerFiles read_clip_tokenizer_files(const std::filesystem::path& folder) {
  const auto text = [&](const char* name) {
    return std::filesystem::exists(folder / name) ? read_text_file(folder / name) : std::string();
  };
  ClipTokenizerFiles files{
      text("vocab.json"),        text("merges.txt"),    text("special_tokens_map.json"), text("tokenizer_config.json"),
      text("added_tokens.json"), text("tokenizer.json")};
  if (files.tokenizer.empty() && (files.vocab.empty() || files.merges.empty())) {
    fail(ErrorCode::not_found, "{}: expected tokenizer.json, or vocab.json and merges.txt", folder.string());
  }
  return files;
}

}  // namespace lathe::text
