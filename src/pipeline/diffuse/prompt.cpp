#include "pipeline/diffuse/prompt.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace lathe::pipeline {
namespace {

constexpr double kEmphasis = 1.1;
constexpr size_t kMostPieces = 16'384;  // nested brackets cost their square

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || uint8_t(c) >= 0x80;
}

// A weight at the start of the text, ": 1.3 )", as its number and the characters it takes; none: {0, 0}.
std::pair<double, size_t> leading_weight(std::string_view text) {
  size_t at = 1;
  const auto skip_blanks = [&] {
    while (at < text.size() && is_blank(text[at])) ++at;
  };
  skip_blanks();
  if (at < text.size() && text[at] == '+') ++at;
  double weight = 0;
  const auto [end, error] =
      std::from_chars(text.data() + at, text.data() + text.size(), weight, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(weight)) return {0, 0};
  at = size_t(end - text.data());
  skip_blanks();
  if (at >= text.size() || text[at] != ')') return {0, 0};
  return {weight, at + 1};
}

class PromptParser {
 public:
  explicit PromptParser(std::string_view text) : text_(text) {}

  std::vector<PromptPiece> parse() {
    while (!text_.empty()) {
      if (pieces_.size() > kMostPieces)
        fail(ErrorCode::usage, "the prompt has more than {} brackets and escapes", kMostPieces);
      const size_t taken = token();
      text_.remove_prefix(taken);
    }
    for (const size_t from : round_) scale(from, kEmphasis);
    for (const size_t from : square_) scale(from, 1 / kEmphasis);
    return joined();
  }

 private:
  // Takes what stands at the front; how many characters.
  size_t token() {
    switch (text_[0]) {
      case '\\': {
        const bool escape = text_.size() > 1 && std::string_view("()[]\\").find(text_[1]) != std::string_view::npos;
        pieces_.push_back({std::string(text_.substr(1, escape)), 1, false});
        return 1 + size_t(escape);
      }
      case '(':
        round_.push_back(pieces_.size());
        return 1;
      case '[':
        square_.push_back(pieces_.size());
        return 1;
      case ':': {
        const auto [weight, taken] = leading_weight(text_);
        if (taken == 0 || round_.empty()) return words(1);
        close(round_, weight);
        return taken;
      }
      case ')':
        if (round_.empty()) return words(1);
        close(round_, kEmphasis);
        return 1;
      case ']':
        if (square_.empty()) return words(1);
        close(square_, 1 / kEmphasis);
        return 1;
      default:
        return words(std::min(text_.find_first_of("\\()[]:"), text_.size()));
    }
  }

  void close(std::vector<size_t>& open, double factor) {
    scale(open.back(), factor);
    open.pop_back();
  }

  void scale(size_t from, double factor) {
    for (size_t i = from; i < pieces_.size(); ++i) pieces_[i].weight *= factor;
  }

  // So many characters of text, cut where BREAK stands as a word.
  size_t words(size_t count) {
    constexpr std::string_view kBreak = "BREAK";
    std::string_view rest = text_.substr(0, count);
    bool begins_chunk = false;
    size_t from = 0;
    while (true) {
      const size_t found = rest.find(kBreak, from);
      if (found == std::string_view::npos) break;
      const size_t end = found + kBreak.size();
      if ((found > 0 && is_word(rest[found - 1])) || (end < rest.size() && is_word(rest[end]))) {
        from = end;
        continue;
      }
      std::string_view before = rest.substr(0, found);
      while (!before.empty() && is_blank(before.back())) before.remove_suffix(1);
      pieces_.push_back({std::string(before), 1, begins_chunk});
      begins_chunk = true;
      rest.remove_prefix(end);
      while (!rest.empty() && is_blank(rest.front())) rest.remove_prefix(1);
      from = 0;
    }
    pieces_.push_back({std::string(rest), 1, begins_chunk});
    return count;
  }

  std::vector<PromptPiece> joined() {
    std::vector<PromptPiece> result;
    for (PromptPiece& piece : pieces_) {
      if (!result.empty() && !piece.begins_chunk && result.back().weight == piece.weight)
        result.back().text += piece.text;
      else
        result.push_back(std::move(piece));
    }
    if (result.empty()) result.emplace_back();
    return result;
  }

  std::string_view text_;
  std::vector<PromptPiece> pieces_;
  std::vector<size_t> round_, square_;  // where the brackets that are open began, as places in pieces_
};

// Fills chunks with tokens and closes those that are full.
class ChunkWriter {
 public:
  ChunkWriter(const text::ClipTokenizer& tokenizer, const PromptOptions& options)
      : tokenizer_(tokenizer), options_(options), room_(options.length - 2) {
    comma_ = tokenizer.tokenizer.token_to_id(",</w>").value_or(-1);
  }

  void add(int32_t id, float weight) {
    if (ids_.size() == room_) next_chunk(split_place());
    if (id == comma_) last_comma_ = ids_.size();
    ids_.push_back(id);
    weights_.push_back(weight);
  }

  // Begins a new chunk; the first `count` tokens stay in this one.
  void next_chunk(size_t count) {
    if (chunks_.size() + 1 >= options_.most_chunks) {
      fail(ErrorCode::usage, "the prompt has more than {} tokens ({} chunks of {})", options_.most_chunks * room_,
           options_.most_chunks, room_);
    }
    chunks_.push_back(chunk(count));
    ids_.erase(ids_.begin(), ids_.begin() + std::ptrdiff_t(count));
    weights_.erase(weights_.begin(), weights_.begin() + std::ptrdiff_t(count));
    last_comma_ = kNone;
  }
  void next_chunk() { next_chunk(ids_.size()); }

  std::vector<PromptChunk> finish() {
    if (!ids_.empty() || chunks_.empty()) chunks_.push_back(chunk(ids_.size()));
    return std::move(chunks_);
  }

 private:
  static constexpr size_t kNone = size_t(-1);

  size_t split_place() const {
    const bool near = last_comma_ != kNone && ids_.size() - last_comma_ <= options_.comma_backtrack;
    return near ? last_comma_ + 1 : ids_.size();
  }

  PromptChunk chunk(size_t count) const {
    PromptChunk result{{tokenizer_.bos_id}, {1}};
    result.ids.insert(result.ids.end(), ids_.begin(), ids_.begin() + std::ptrdiff_t(count));
    result.weights.insert(result.weights.end(), weights_.begin(), weights_.begin() + std::ptrdiff_t(count));
    result.ids.push_back(tokenizer_.eos_id);
    result.ids.resize(options_.length, tokenizer_.pad_id);
    result.weights.resize(options_.length, 1);
    return result;
  }

  const text::ClipTokenizer& tokenizer_;
  const PromptOptions& options_;
  size_t room_;
  int32_t comma_;
  std::vector<PromptChunk> chunks_;
  std::vector<int32_t> ids_;
  std::vector<float> weights_;
  size_t last_comma_ = kNone;
};

EncodedPrompt encode_plain(const text::ClipTokenizer& tokenizer, std::string_view prompt,
                           const PromptOptions& options) {
  std::vector<int32_t> ids = tokenizer.encode(prompt);
  const size_t room = options.length - 2;
  EncodedPrompt result;
  result.tokens = ids.size();
  if (ids.size() > room) {
    result.cut_off = tokenizer.tokenizer.decode(std::span(ids).subspan(room), false);
    while (!result.cut_off.empty() && is_blank(result.cut_off.back())) result.cut_off.pop_back();
    ids.resize(room);
  }
  ChunkWriter writer(tokenizer, options);
  for (const int32_t id : ids) writer.add(id, 1);
  result.chunks = writer.finish();
  return result;
}

}  // namespace

std::vector<PromptPiece> parse_prompt(std::string_view prompt) {
  return PromptParser(prompt).parse();
}

bool EncodedPrompt::weighted() const {
  return std::ranges::any_of(chunks, [](const PromptChunk& chunk) {
    return std::ranges::any_of(chunk.weights, [](float weight) { return weight != 1; });
  });
}

EncodedPrompt encode_prompt(const text::ClipTokenizer& tokenizer, std::string_view prompt,
                            const PromptOptions& options) {
  LATHE_CHECK(options.length > 2 && options.most_chunks > 0, "length {}", options.length);
  if (!options.weighting) return encode_plain(tokenizer, prompt, options);
  ChunkWriter writer(tokenizer, options);
  EncodedPrompt result;
  for (const PromptPiece& piece : parse_prompt(prompt)) {
    if (piece.begins_chunk) writer.next_chunk();
    const std::vector<int32_t> ids = tokenizer.encode(piece.text);
    for (const int32_t id : ids) writer.add(id, float(piece.weight));
    result.tokens += ids.size();
  }
  result.chunks = writer.finish();
  return result;
}

void pad_to_same_chunks(EncodedPrompt& a, EncodedPrompt& b, const text::ClipTokenizer& tokenizer) {
  PromptOptions options;
  options.length = a.chunks.front().ids.size();
  const EncodedPrompt empty = encode_prompt(tokenizer, "", options);
  const size_t count = std::max(a.chunks.size(), b.chunks.size());
  a.chunks.resize(count, empty.chunks.front());
  b.chunks.resize(count, empty.chunks.front());
}

void apply_weights(std::span<float> hidden, std::span<const float> weights) {
  LATHE_CHECK(!weights.empty() && hidden.size() % weights.size() == 0, "{} numbers, {} weights", hidden.size(),
              weights.size());
  if (std::ranges::all_of(weights, [](float weight) { return weight == 1; })) return;
  const size_t width = hidden.size() / weights.size();
  double before = 0, after = 0;
  for (size_t i = 0; i < hidden.size(); ++i) {
    before += double(hidden[i]);
    hidden[i] *= weights[i / width];
    after += double(hidden[i]);
  }
  const double factor = before / after;
  if (!std::isfinite(factor)) fail(ErrorCode::usage, "the prompt's weights leave a mean of zero");
  for (float& x : hidden) x *= float(factor);
}

}  // namespace lathe::pipeline
