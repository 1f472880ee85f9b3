#include "text/tokenizer.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "base/error.h"
#include "text/tokenizer_impl.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

Json member_or_null(const Json& config, std::string_view key) {
  const Json* member = find_member(config, key);
  return member ? *member : Json(nullptr);
}

// Remembers where in one call's output a piece was encoded before, so that frequent words are merged once.
// Each slot holds the last piece that hashed there.
class PieceCache {
 public:
  explicit PieceCache(size_t text_bytes)
      : slots_(std::bit_ceil(std::clamp<size_t>(text_bytes / 16, 16, 1 << 14))) {}

  // The slot of `piece`; its entry is of this piece if entry.piece == piece.
  struct Entry {
    std::string_view piece;
    size_t begin = 0, count = 0;  // in the ids
  };
  Entry& entry(std::string_view piece) { return slots_[hash_bytes(piece) & (slots_.size() - 1)]; }

 private:
  std::vector<Entry> slots_;
};

constexpr size_t kMaxCachedPiece = 64;  // bytes; longer ones hardly come again

// Tokens of the file in order. As in `tokenizers`, a content that the model knows keeps the model's id, and
// any other takes the next free one, whatever id the file gives.
std::deque<AddedToken> resolve_added_tokens(const Json& config, const Vocabulary& vocabulary) {
  std::deque<AddedToken> added;
  const Json* list = find_member(config, "added_tokens");
  if (!list) return added;
  if (!list->is_array()) fail(ErrorCode::invalid_input, "tokenizer: \"added_tokens\" is not a list");
  std::unordered_map<std::string, size_t> seen;
  int64_t next = int64_t(vocabulary.size());
  for (const Json& item : *list) {
    AddedToken token = added_token_from_json(item);
    if (token.content.empty()) continue;
    const auto [known, is_new] = seen.try_emplace(token.content, added.size());
    if (!is_new) {
      token.id = added[known->second].id;
      added[known->second] = std::move(token);
      continue;
    }
    token.id = vocabulary.find(token.content).value_or(int32_t(next));
    next = std::max(next, int64_t(token.id) + 1);
    checked_cast<int32_t>(next, "ids of added tokens");
    added.push_back(std::move(token));
  }
  return added;
}

}  // namespace

BpeOptions Tokenizer::Impl::bpe_options(const Json& model) {
  const std::string type = find_string(model, "type").value_or("BPE");
  if (type != "BPE") fail(ErrorCode::unsupported, "tokenizer: model \"{}\"", type);
  if (find_number(model, "dropout").value_or(0) != 0) {
    fail(ErrorCode::unsupported, "tokenizer: model with dropout {}", *find_number(model, "dropout"));
  }
  BpeOptions options;
  options.unk_token = find_string(model, "unk_token");
  options.continuing_subword_prefix = find_string(model, "continuing_subword_prefix").value_or("");
  options.end_of_word_suffix = find_string(model, "end_of_word_suffix").value_or("");
  options.fuse_unk = find_bool(model, "fuse_unk").value_or(false);
  options.byte_fallback = find_bool(model, "byte_fallback").value_or(false);
  options.ignore_merges = find_bool(model, "ignore_merges").value_or(false);
  return options;
}

std::shared_ptr<const Tokenizer::Impl> Tokenizer::Impl::build(TokenizerSource source) {
  const BpeOptions options = bpe_options(get_member(source.config, "model"));
  if (!source.has_vocab || !source.has_merges) {
    fail(ErrorCode::invalid_input, "tokenizer: BPE model without {}", source.has_vocab ? "merges" : "vocab");
  }
  Bpe bpe(Vocabulary(source.vocab), source.merges, options);
  std::deque<AddedToken> added = resolve_added_tokens(source.config, bpe.vocabulary());
  return std::make_shared<Impl>(std::move(source.config), std::move(bpe), std::move(added));
}

Tokenizer::Impl::Impl(Json config_json, Bpe model, std::deque<AddedToken> added)
    : config(std::move(config_json)), bpe(std::move(model)), added_tokens(std::move(added)) {
  const Json normalizer_config = member_or_null(config, "normalizer");
  const Json pre_tokenizer_config = member_or_null(config, "pre_tokenizer");
  if (!normalizer_config.is_null()) normalizer = make_normalizer(normalizer_config);
  if (!pre_tokenizer_config.is_null()) pre_tokenizer = make_pre_tokenizer(pre_tokenizer_config);
  frame = make_special_frame(member_or_null(config, "post_processor"));
  decoder = make_decoder(member_or_null(config, "decoder"));
  vocab_size = bpe.vocabulary().size();
  for (AddedToken& token : added_tokens) {
    if (!bpe.vocabulary().find(token.content)) ++vocab_size;
    added_by_id[token.id] = &token;
    added_by_content[token.content] = &token;
    token.text = token.content;
    if (token.normalized && normalizer) normalizer->apply_to_token(token.text);
    (token.normalized ? in_normalized_text : in_raw_text).add(token, token.text);
  }
}

// `tokenizers` 0.23 asks whether the text that a token decodes to is a special token's content.
bool Tokenizer::Impl::is_skipped(const AddedToken& token) const {
  const auto same = added_by_content.find(token.text);
  return same != added_by_content.end() && same->second->special;
}

std::string_view Tokenizer::Impl::token(int32_t id) const {
  const auto added = added_by_id.find(id);
  return added != added_by_id.end() ? std::string_view(added->second->text) : bpe.vocabulary().token(id);
}

void Tokenizer::Impl::encode_text(std::string_view text, std::vector<int32_t>& ids) const {
  Pieces pieces;  // of one stretch of text without added tokens; its strings live as long as the cache
  PieceCache cache(text.size());
  Bpe::Scratch scratch;
  const bool maps_bytes = pre_tokenizer && pre_tokenizer->maps_bytes();
  const auto encode_stretch = [&](std::string_view stretch, bool at_start) {
    pieces.list.assign(1, {stretch, at_start});
    if (pre_tokenizer) pre_tokenizer->apply(pieces);
    for (const Piece& piece : pieces.list) {
      if (piece.text.size() > kMaxCachedPiece) {
        bpe.encode(piece.text, maps_bytes, ids, scratch);
        continue;
      }
      PieceCache::Entry& entry = cache.entry(piece.text);
      if (entry.piece == piece.text) {
        ids.resize(ids.size() + entry.count);
        std::copy_n(ids.begin() + std::ptrdiff_t(entry.begin), entry.count,
                    ids.end() - std::ptrdiff_t(entry.count));
        continue;
      }
      const size_t begin = ids.size();
      bpe.encode(piece.text, maps_bytes, ids, scratch);
      entry = {piece.text, begin, ids.size() - begin};
    }
  };
  std::vector<AddedTokenFinder::Part> raw_parts, parts;
  in_raw_text.split(text, raw_parts);
  for (const auto& raw : raw_parts) {
    if (raw.id >= 0) {
      ids.push_back(raw.id);
      continue;
    }
    std::string_view stretch = text.substr(raw.begin, raw.end - raw.begin);
    if (normalizer) {
      std::string normalized(stretch);
      normalizer->apply(normalized);
      stretch = pieces.keep(std::move(normalized));
    }
    parts.clear();
    in_normalized_text.split(stretch, parts);
    for (const auto& part : parts) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        encode_stretch(stretch.substr(part.begin, part.end - part.begin), raw.begin == 0 && part.begin == 0);
      }
    }
  }
}

Tokenizer Tokenizer::from_json(const Json& tokenizer) {
  return Tokenizer(Impl::build(read_tokenizer_source(tokenizer)));
}

Tokenizer Tokenizer::from_text(std::string_view tokenizer_json, std::string_view name) {
  return with_context(name,
                      [&] { return Tokenizer(Impl::build(read_tokenizer_source(tokenizer_json, name))); });
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special) const {
  const size_t valid = valid_utf8_prefix(text);
  if (valid != text.size()) fail(ErrorCode::invalid_input, "text to encode: byte {} is not UTF-8", valid);
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 4 + 8);
  if (!add_special) {
    impl_->encode_text(text, ids);
    return ids;
  }
  for (const int32_t item : impl_->frame.items) {
    if (item == SpecialFrame::kText) {
      impl_->encode_text(text, ids);
    } else {
      ids.push_back(item);
    }
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  StreamDecoder decoder(*this, skip_special);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  return text + decoder.finish();
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  const auto added = impl_->added_by_content.find(token);
  return added != impl_->added_by_content.end() ? added->second->id : impl_->bpe.vocabulary().find(token);
}

std::optional<std::string> Tokenizer::id_to_token(int32_t id) const {
  const std::string_view token = impl_->token(id);
  return token.empty() ? std::nullopt : std::optional(std::string(token));
}

std::vector<std::pair<std::string, int32_t>> Tokenizer::added_tokens() const {
  std::vector<std::pair<std::string, int32_t>> tokens;
  for (const AddedToken& token : impl_->added_tokens) tokens.emplace_back(token.content, token.id);
  return tokens;
}

bool Tokenizer::is_special(int32_t id) const {
  const auto added = impl_->added_by_id.find(id);
  return added != impl_->added_by_id.end() && added->second->special;
}

size_t Tokenizer::vocab_size() const {
  return impl_->vocab_size;
}

int32_t Tokenizer::id_limit() const {
  int32_t limit = impl_->bpe.vocabulary().id_limit();
  for (const AddedToken& token : impl_->added_tokens) limit = std::max(limit, token.id + 1);
  return limit;
}

namespace {

class TextCollector : public TokenSink {
 public:
  void text(std::string_view part) override { text_ += part; }
  void end_token() override {}
  void finish() override {}
  std::string take() { return std::exchange(text_, {}); }

 private:
  std::string text_;
};

}  // namespace

struct StreamDecoder::State {
  State(std::shared_ptr<const Tokenizer::Impl> tokenizer_impl, bool skip)
      : impl(std::move(tokenizer_impl)), skip_special(skip), first(impl->decoder->begin(out)) {}

  std::shared_ptr<const Tokenizer::Impl> impl;
  bool skip_special;
  TextCollector out;
  std::unique_ptr<TokenSink> first;
  bool finished = false;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(std::make_unique<State>(tokenizer.impl_, skip_special)) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  LATHE_CHECK(!state_->finished, "id {} pushed after finish()", id);
  const auto added = state_->impl->added_by_id.find(id);
  if (added != state_->impl->added_by_id.end()) {
    if (state_->skip_special && state_->impl->is_skipped(*added->second)) return {};
    state_->first->text(added->second->text);
  } else {
    const std::string_view token = state_->impl->bpe.vocabulary().token(id);
    if (token.empty()) return {};
    state_->first->text(token);
  }
  state_->first->end_token();
  return state_->out.take();
}

std::string StreamDecoder::finish() {
  if (!state_->finished) state_->first->finish();
  state_->finished = true;
  return state_->out.take();
}

}  // namespace lathe::text
