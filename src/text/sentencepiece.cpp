#include "text/sentencepiece.h"

#include <algorithm>

#include "base/error.h"
#include "io/protobuf_wire.h"

namespace lathe::text {
namespace {

using io::WireReader;

enum ModelType { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };

constexpr int kNormalPiece = 1, kLastPieceType = 6;  // the numbers are GGUF's, which took them over

struct Piece {
  std::string text;
  float score = 0;
  int32_t type = kNormalPiece;
};

Piece read_piece(std::span<const std::byte> message) {
  Piece piece;
  for (WireReader fields(message); fields.next();) {
    switch (fields.field()) {
      case 1: piece.text = fields.as_text(); break;
      case 2: piece.score = fields.as_float(); break;
      case 3: piece.type = fields.as_int32(); break;
      default: break;
    }
  }
  if (piece.type < kNormalPiece || piece.type > kLastPieceType) {
    fail(ErrorCode::invalid_input, "piece \"{}\": type {}, expected 1 to 6", piece.text, piece.type);
  }
  return piece;
}

std::string_view name_of(int32_t model_type) {
  switch (model_type) {
    case kUnigram: return "unigram";
    case kBpe: return "bpe";
    case kWord: return "word";
    case kChar: return "char";
    default: return "unknown";
  }
}

void read_trainer(std::span<const std::byte> message, GgufTokenizer& tokenizer) {
  int32_t model_type = kUnigram;
  bool byte_fallback = false, suffix = false;
  int32_t unknown = 0, begin = 1, end = 2;
  for (WireReader fields(message); fields.next();) {
    switch (fields.field()) {
      case 3: model_type = fields.as_int32(); break;
      case 24: suffix = fields.as_uint64() != 0; break;
      case 35: byte_fallback = fields.as_uint64() != 0; break;
      case 40: unknown = fields.as_int32(); break;
      case 41: begin = fields.as_int32(); break;
      case 42: end = fields.as_int32(); break;
      default: break;
    }
  }
  if (model_type != kBpe) {
    fail(ErrorCode::unsupported, "model_type {} ({}): only bpe is known", model_type, name_of(model_type));
  }
  if (!byte_fallback) fail(ErrorCode::unsupported, "byte_fallback is off: only models with pieces for bytes are known");
  if (suffix) fail(ErrorCode::unsupported, "treat_whitespace_as_suffix is on: only spaces before words are known");
  const auto set = [](std::optional<int64_t>& id, int32_t value) {
    if (value >= 0) id = value;
  };
  set(tokenizer.unknown_token_id, unknown);
  set(tokenizer.bos_token_id, begin);
  set(tokenizer.eos_token_id, end);
  tokenizer.add_bos_token = begin >= 0;  // -1: the model has none
}

void read_normalizer(std::span<const std::byte> message, GgufTokenizer& tokenizer) {
  std::string rules;
  size_t map_bytes = 0;
  bool prefix = true, trims = true, escapes = true;
  for (WireReader fields(message); fields.next();) {
    switch (fields.field()) {
      case 1: rules = fields.as_text(); break;
      case 2: map_bytes = fields.as_bytes().size(); break;
      case 3: prefix = fields.as_uint64() != 0; break;
      case 4: trims = fields.as_uint64() != 0; break;
      case 5: escapes = fields.as_uint64() != 0; break;
      default: break;
    }
  }
  if (map_bytes > 0) fail(ErrorCode::unsupported, "normalization rule \"{}\": only identity is known", rules);
  if (trims) fail(ErrorCode::unsupported, "remove_extra_whitespaces is on: only models that keep spaces are known");
  if (!escapes)
    fail(ErrorCode::unsupported, "escape_whitespaces is off: only models that write spaces as U+2581 are known");
  tokenizer.add_space_prefix = prefix;
}

// Lines of a base64 word and its rank, as Meta's Llama 3 has under the same name.
bool is_tiktoken(std::span<const std::byte> file) {
  constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
  const std::string_view head(reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 512));
  const std::string_view line = head.substr(0, head.find('\n'));
  const size_t word = line.find_first_not_of(kBase64);
  if (word == 0 || word == line.npos || word % 4 != 0 || line[word] != ' ') return false;
  const std::string_view rank = line.substr(word + 1);
  return !rank.empty() && rank.find_first_not_of("0123456789\r") == rank.npos;
}

}  // namespace

GgufTokenizer read_sentencepiece(std::span<const std::byte> file, std::string_view name) {
  return with_context(name, [&] {
    if (is_tiktoken(file)) {
      fail(ErrorCode::unsupported, "a file of tiktoken (lines of base64 and rank), expected one of SentencePiece; a "
                                   "tokenizer.json beside it goes before it");
    }
    GgufTokenizer tokenizer;
    tokenizer.model = "llama";
    tokenizer.sentencepiece_file = true;
    tokenizer.add_eos_token = false;
    bool trainer = false, normalizer = false;
    for (WireReader fields(file); fields.next();) {
      if (fields.field() == 1) {
        Piece piece = read_piece(fields.as_bytes());
        tokenizer.tokens.push_back(std::move(piece.text));
        tokenizer.scores.push_back(piece.score);
        tokenizer.token_type.push_back(piece.type);
      } else if (fields.field() == 2) {
        read_trainer(fields.as_bytes(), tokenizer);
        trainer = true;
      } else if (fields.field() == 3) {
        read_normalizer(fields.as_bytes(), tokenizer);
        normalizer = true;
      }
    }
    if (tokenizer.tokens.empty() || !trainer || !normalizer) {
      fail(ErrorCode::invalid_input,
           "expected SentencePiece's pieces, trainer_spec and normalizer_spec, found {} pieces{}{}",
           tokenizer.tokens.size(), trainer ? "" : ", no trainer_spec", normalizer ? "" : ", no normalizer_spec");
    }
    return tokenizer;
  });
}

Json tokenizer_json_from_sentencepiece(std::span<const std::byte> file, std::string_view name,
                                       const TokenizerSettings& settings) {
  GgufTokenizer tokenizer = read_sentencepiece(file, name);
  apply_settings(tokenizer, settings);
  return with_context(name, [&] { return tokenizer_json_from_gguf(tokenizer); });
}

}  // namespace lathe::text
