#include "text/gguf_tokenizer.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "text/score_merges.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

enum TokenType : int32_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

// The word patterns that the models' authors published in their tokenizer.json files.
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)"
    R"(|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// How one kind of `pre` cuts text.
struct PreTokenization {
  std::string_view pattern;         // empty: ByteLevel's own (GPT-2's)
  bool single_digits = false;       // each digit alone, before anything else
  bool nfc = false;                 // text is normalized first
  bool ignore_merges = false;       // a word that is a token is not merged together
  bool add_bos_by_default = false;  // when the file does not say
};

constexpr PreTokenization kGpt2Kind{.pattern = {}};
constexpr PreTokenization kNeoxKind{.pattern = {}, .nfc = true};
constexpr PreTokenization kDigitKind{.pattern = {}, .single_digits = true};
constexpr PreTokenization kLlama3Kind{.pattern = kLlama3, .ignore_merges = true, .add_bos_by_default = true};
constexpr PreTokenization kQwen2Kind{.pattern = kQwen2, .nfc = true};
constexpr PreTokenization kTekkenKind{.pattern = kTekken, .ignore_merges = true, .add_bos_by_default = true};
constexpr PreTokenization kGpt4oKind{.pattern = kGpt4o};

constexpr std::array<std::pair<std::string_view, const PreTokenization*>, 24> kKinds = {{
    {"default", &kGpt2Kind},     {"gpt-2", &kGpt2Kind},     {"gpt2", &kGpt2Kind},
    {"phi-2", &kGpt2Kind},       {"gpt-neox", &kNeoxKind},  {"olmo", &kNeoxKind},
    {"dolly", &kNeoxKind},       {"mpt", &kNeoxKind},       {"smollm", &kDigitKind},
    {"starcoder", &kDigitKind},  {"refact", &kDigitKind},   {"command-r", &kDigitKind},
    {"codeshell", &kDigitKind},  {"llama3", &kLlama3Kind},  {"llama-v3", &kLlama3Kind},
    {"llama-bpe", &kLlama3Kind}, {"falcon3", &kLlama3Kind}, {"qwen2", &kQwen2Kind},
    {"megrez", &kQwen2Kind},     {"tekken", &kTekkenKind},  {"pixtral", &kTekkenKind},
    {"gpt-4o", &kGpt4oKind},     {"llama4", &kGpt4oKind},   {"deepseek-r1-qwen", &kQwen2Kind},
}};

const PreTokenization& kind_of(const std::string& pre) {
  if (pre.empty()) return kGpt2Kind;  // files older than the key
  std::string known;
  for (const auto& [name, kind] : kKinds) {
    if (name == pre) return *kind;
    known.append(known.empty() ? "" : ", ").append(name);
  }
  fail(ErrorCode::unsupported, "tokenizer.ggml.pre \"{}\" is not known; known are {}", pre, known);
}

int32_t type_of(const GgufTokenizer& gguf, size_t id) {
  return gguf.token_type.empty() ? int32_t(kNormal) : gguf.token_type[id];
}

void check(const GgufTokenizer& gguf) {
  const auto fits = [&](size_t size, std::string_view key) {
    if (size != 0 && size != gguf.tokens.size()) {
      fail(ErrorCode::invalid_input, "{}: expected {} entries, found {}", field_of(gguf, key), gguf.tokens.size(),
           size);
    }
  };
  if (gguf.tokens.empty()) fail(ErrorCode::invalid_input, "{}: there are none", field_of(gguf, "tokens"));
  fits(gguf.token_type.size(), "token_type");
  fits(gguf.scores.size(), "scores");
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (valid_utf8_prefix(gguf.tokens[id]) != gguf.tokens[id].size()) {
      fail(ErrorCode::invalid_input, "{}: token {} is not UTF-8", field_of(gguf, "tokens"), id);
    }
  }
}

// Appends without the search for an equal key that makes ordered objects slow to build.
void append_member(Json& object, const std::string& key, Json value) {
  Json::object_t& members = object.get_ref<Json::object_t&>();
  static_cast<Json::object_t::Container&>(members).emplace_back(key, std::move(value));
}

Json vocabulary(const GgufTokenizer& gguf) {
  Json vocab = Json::object();
  std::unordered_map<std::string_view, size_t> seen;
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    const auto [known, is_new] = seen.emplace(gguf.tokens[id], id);
    if (!is_new) {
      fail(ErrorCode::invalid_input, "{}: {} and {} are both \"{}\"", field_of(gguf, "tokens"), known->second, id,
           gguf.tokens[id]);
    }
    append_member(vocab, gguf.tokens[id], id);
  }
  return vocab;
}

Json added_tokens(const GgufTokenizer& gguf) {
  Json added = Json::array();
  for (size_t id = 0; id < gguf.tokens.size(); ++id) {
    if (const auto known = gguf.added.find(id); known != gguf.added.end()) {
      added.push_back(known->second);
      continue;
    }
    const int32_t type = type_of(gguf, id);
    if ((type != kControl && type != kUnknown && type != kUserDefined) || gguf.tokens[id].empty()) continue;
    added.push_back({{"id", id},
                     {"content", gguf.tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", type == kUserDefined && gguf.sentencepiece_file},
                     {"special", type != kUserDefined}});
  }
  return added;
}

// BOS and EOS around the text, or null where neither is wanted.
Json post_processor(const GgufTokenizer& gguf, bool add_bos, bool add_eos) {
  Json single = Json::array(), pair = Json::array(), special = Json::object();
  const auto sequence = [](Json& items, std::string_view name, int type_id) {
    items.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
  };
  const auto token = [&](std::optional<int64_t> id, std::string_view key) {
    if (!id || *id < 0 || uint64_t(*id) >= gguf.tokens.size()) {
      fail(ErrorCode::invalid_input, "{}: expected an id below {}, found {}", field_of(gguf, key), gguf.tokens.size(),
           id ? *id : -1);
    }
    const std::string& text = gguf.tokens[size_t(*id)];
    special[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
    return text;
  };
  const auto around = [&](Json& items, std::string_view name, int type_id) {
    const auto put = [&](const std::string& text) {
      items.push_back({{"SpecialToken", {{"id", text}, {"type_id", type_id}}}});
    };
    if (add_bos) put(token(gguf.bos_token_id, "bos_token_id"));
    sequence(items, name, type_id);
    if (add_eos) put(token(gguf.eos_token_id, "eos_token_id"));
  };
  if (!add_bos && !add_eos) return nullptr;
  around(single, "A", 0);
  around(pair, "A", 0);
  around(pair, "B", 1);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", special}};
}

Json document(const GgufTokenizer& gguf, Json normalizer, Json pre_tokenizer, Json post, Json decoder, Json model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added_tokens(gguf)},
          {"normalizer", std::move(normalizer)},
          {"pre_tokenizer", std::move(pre_tokenizer)},
          {"post_processor", std::move(post)},
          {"decoder", std::move(decoder)},
          {"model", std::move(model)}};
}

Json bpe_model(const GgufTokenizer& gguf, Json merges, Json unk_token, bool sentencepiece, bool ignore_merges) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", std::move(unk_token)},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", sentencepiece},
          {"byte_fallback", sentencepiece},
          {"ignore_merges", ignore_merges},
          {"vocab", vocabulary(gguf)},
          {"merges", std::move(merges)}};
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json from_gpt2(const GgufTokenizer& gguf) {
  const PreTokenization& kind = kind_of(gguf.pre);
  Json parts = Json::array();
  if (kind.single_digits) parts.push_back({{"type", "Digits"}, {"individual_digits", true}});
  if (!kind.pattern.empty()) {
    parts.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", kind.pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  parts.push_back(byte_level(kind.pattern.empty()));
  Json pre_tokenizer = parts.size() == 1 ? parts[0] : Json{{"type", "Sequence"}, {"pretokenizers", parts}};
  Json normalizer = kind.nfc ? Json{{"type", "NFC"}} : Json(nullptr);
  Json merges = Json::array();
  for (const std::string& merge : gguf.merges) merges.push_back(merge);
  const bool add_bos = gguf.add_bos_token.value_or(kind.add_bos_by_default);
  return document(gguf, std::move(normalizer), std::move(pre_tokenizer),
                  post_processor(gguf, add_bos, gguf.add_eos_token.value_or(false)), byte_level(true),
                  bpe_model(gguf, std::move(merges), nullptr, false, kind.ignore_merges));
}

// SentencePiece puts the space in front of the whole text and looks for user defined pieces after that. `tokenizers`
// has nothing that does, so where there are such pieces this is a step of our own, which it refuses by name.
std::string_view prefix_kind(const GgufTokenizer& gguf) {
  const bool user_defined = std::find(gguf.token_type.begin(), gguf.token_type.end(), kUserDefined) !=
                            gguf.token_type.end();
  return gguf.sentencepiece_file && user_defined ? "PrependToText" : "Prepend";
}

Json from_sentencepiece(const GgufTokenizer& gguf) {
  if (gguf.scores.empty()) fail(ErrorCode::invalid_input, "{}: missing for model \"llama\"", field_of(gguf, "scores"));
  for (const float score : gguf.scores) {
    if (!(score == score)) fail(ErrorCode::invalid_input, "{}: a score is not a number", field_of(gguf, "scores"));
  }
  constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581
  const bool prefix = gguf.add_space_prefix.value_or(true);
  Json steps = Json::array();
  if (prefix) steps.push_back({{"type", prefix_kind(gguf)}, {"prepend", kSpace}});
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kSpace}});
  Json decoders = {{{"type", "Replace"}, {"pattern", {{"String", kSpace}}}, {"content", " "}},
                   {{"type", "ByteFallback"}},
                   {{"type", "Fuse"}}};
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  Json unk_token = nullptr;
  if (gguf.unknown_token_id && *gguf.unknown_token_id >= 0 && uint64_t(*gguf.unknown_token_id) < gguf.tokens.size()) {
    unk_token = gguf.tokens[size_t(*gguf.unknown_token_id)];
  }
  return document(gguf, {{"type", "Sequence"}, {"normalizers", steps}}, nullptr,
                  post_processor(gguf, gguf.add_bos_token.value_or(true), gguf.add_eos_token.value_or(false)),
                  {{"type", "Sequence"}, {"decoders", decoders}},
                  bpe_model(gguf, merges_from_scores(gguf), std::move(unk_token), true, false));
}

}  // namespace

std::string field_of(const GgufTokenizer& tokenizer, std::string_view key) {
  if (!tokenizer.sentencepiece_file) return fmt::format("tokenizer.ggml.{}", key);
  if (key == "bos_token_id") return "trainer_spec.bos_id";
  if (key == "eos_token_id") return "trainer_spec.eos_id";
  return key == "tokens" ? "pieces" : fmt::format("{} of pieces", key == "token_type" ? "type" : "score");
}

GgufTokenizer read_gguf_tokenizer(const io::GgufMetadata& metadata) {
  if (!metadata.find("tokenizer.ggml.model")) fail(ErrorCode::not_found, "the file has no tokenizer.ggml.model");
  const auto text = [&](std::string_view key) { return std::string(metadata.find_string(key).value_or("")); };
  const auto texts = [&](std::string_view key) {
    const auto list = metadata.find_strings(key).value_or(std::span<const std::string_view>{});
    return std::vector<std::string>(list.begin(), list.end());
  };
  GgufTokenizer gguf;
  gguf.model = text("tokenizer.ggml.model");
  gguf.pre = text("tokenizer.ggml.pre");
  gguf.tokens = texts("tokenizer.ggml.tokens");
  gguf.merges = texts("tokenizer.ggml.merges");
  gguf.scores = metadata.find_floats("tokenizer.ggml.scores").value_or(std::vector<float>{});
  for (const int64_t type : metadata.find_ints("tokenizer.ggml.token_type").value_or(std::vector<int64_t>{})) {
    gguf.token_type.push_back(checked_cast<int32_t>(type, "tokenizer.ggml.token_type"));
  }
  gguf.bos_token_id = metadata.find_int("tokenizer.ggml.bos_token_id");
  gguf.eos_token_id = metadata.find_int("tokenizer.ggml.eos_token_id");
  gguf.unknown_token_id = metadata.find_int("tokenizer.ggml.unknown_token_id");
  gguf.add_bos_token = metadata.find_bool("tokenizer.ggml.add_bos_token");
  gguf.add_eos_token = metadata.find_bool("tokenizer.ggml.add_eos_token");
  gguf.add_space_prefix = metadata.find_bool("tokenizer.ggml.add_space_prefix");
  return gguf;
}

Json tokenizer_json_from_gguf(const GgufTokenizer& gguf) {
  check(gguf);
  if (gguf.model == "gpt2") return from_gpt2(gguf);
  if (gguf.model == "llama") return from_sentencepiece(gguf);
  fail(ErrorCode::unsupported, "tokenizer.ggml.model \"{}\" is not known; known are gpt2, llama", gguf.model);
}

}  // namespace lathe::text
