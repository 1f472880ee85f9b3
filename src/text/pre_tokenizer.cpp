#include "text/pre_tokenizer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

// GPT-2's word pattern, as published with the model.
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

SplitBehavior behavior_from(const Json& config, std::string_view fallback) {
  const std::string name = find_string(config, "behavior").value_or(std::string(fallback));
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail(ErrorCode::unsupported, "tokenizer: split behavior \"{}\"", name);
}

// Runs body(piece, new list) on every piece.
template <class Body>
void for_each_piece(Pieces& pieces, Body&& body) {
  std::vector<Piece> out;
  out.reserve(pieces.list.size());
  for (const Piece& piece : pieces.list) body(piece, out);
  pieces.list = std::move(out);
}

// Splits at single characters of a class.
template <class IsSeparator>
void split_at_characters(Pieces& pieces, SplitBehavior behavior, IsSeparator&& is_separator) {
  std::vector<RegexMatch> matches;
  for_each_piece(pieces, [&](const Piece& piece, std::vector<Piece>& out) {
    matches.clear();
    for (size_t at = 0; at < piece.text.size();) {
      const size_t begin = at;
      if (is_separator(take_code_point(piece.text, at))) matches.push_back({begin, at});
    }
    split_piece(piece, matches, behavior, false, out);
  });
}

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(const Json& config, bool defer_mapping)
      : add_prefix_space_(find_bool(config, "add_prefix_space").value_or(true)),
        defer_mapping_(defer_mapping) {
    if (find_bool(config, "use_regex").value_or(true)) regex_.emplace(kByteLevelPattern);
  }

  void apply(Pieces& pieces) const override {
    if (add_prefix_space_) {
      for (Piece& piece : pieces.list) {
        if (piece.text[0] != ' ') piece.text = pieces.keep(std::string(1, ' ').append(piece.text));
      }
    }
    if (regex_) {
      RegexMatcher matcher(*regex_);
      for_each_piece(pieces, [&](const Piece& piece, std::vector<Piece>& out) {
        if (piece.text.size() == 1) {
          out.push_back(piece);  // digits that were split one by one
          return;
        }
        out.reserve(out.size() + piece.text.size() / 5);
        // the pattern leaves nothing unmatched
        RegexMatch match;
        matcher.start(piece.text);
        while (matcher.next(match)) {
          out.push_back(
              {piece.text.substr(match.begin, match.end - match.begin), piece.at_start && match.begin == 0});
        }
      });
    }
    if (defer_mapping_) return;
    for (Piece& piece : pieces.list) {
      std::string mapped;
      append_byte_level(mapped, piece.text);
      piece.text = pieces.keep(std::move(mapped));
    }
  }

  bool maps_bytes() const override { return true; }

 private:
  bool add_prefix_space_;
  bool defer_mapping_;
  std::optional<Regex> regex_;
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(const Json& config) {
    const bool individual = find_bool(config, "individual_digits").value_or(false);
    behavior_ = individual ? SplitBehavior::isolated : SplitBehavior::contiguous;
  }
  void apply(Pieces& pieces) const override { split_at_characters(pieces, behavior_, is_numeric); }

 private:
  SplitBehavior behavior_;
};

class Punctuation : public PreTokenizer {
 public:
  explicit Punctuation(const Json& config) : behavior_(behavior_from(config, "Isolated")) {}
  void apply(Pieces& pieces) const override { split_at_characters(pieces, behavior_, is_punctuation); }

 private:
  SplitBehavior behavior_;
};

class WhitespaceSplit : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    split_at_characters(pieces, SplitBehavior::removed, is_whitespace);
  }
};

// Runs of word characters, and runs of others that are not white space.
class Whitespace : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    for_each_piece(pieces, [](const Piece& piece, std::vector<Piece>& out) {
      enum class Kind { space, word, other };
      Kind current = Kind::space;
      size_t begin = 0;
      const auto end_run = [&](size_t end) {
        if (current != Kind::space)
          out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
        begin = end;
      };
      for (size_t at = 0; at < piece.text.size();) {
        const size_t start = at;
        const uint32_t c = take_code_point(piece.text, at);
        const Kind kind = is_whitespace(c) ? Kind::space : is_word(c) ? Kind::word : Kind::other;
        if (kind != current) end_run(start);
        current = kind;
      }
      end_run(piece.text.size());
    });
  }
};

class Split : public PreTokenizer {
 public:
  explicit Split(const Json& config)
      : pattern_(get_member(config, "pattern")),
        behavior_(behavior_from(config, "Isolated")),
        invert_(find_bool(config, "invert").value_or(false)) {}

  void apply(Pieces& pieces) const override {
    std::vector<RegexMatch> matches;
    for_each_piece(pieces, [&](const Piece& piece, std::vector<Piece>& out) {
      matches.clear();
      pattern_.find(piece.text, matches);
      split_piece(piece, matches, behavior_, invert_, out);
    });
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// SentencePiece's: spaces become a visible character, which also begins the text.
class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const Json& config)
      : replacement_(find_string(config, "replacement").value_or("\xE2\x96\x81")),
        scheme_(find_string(config, "prepend_scheme").value_or("always")),
        split_(find_bool(config, "split").value_or(true)) {
    // older files have a flag instead of the scheme
    if (find_bool(config, "add_prefix_space") == false && !find_member(config, "prepend_scheme"))
      scheme_ = "never";
    if (scheme_ != "always" && scheme_ != "first" && scheme_ != "never") {
      fail(ErrorCode::unsupported, "tokenizer: prepend_scheme \"{}\"", scheme_);
    }
    if (replacement_.empty())
      fail(ErrorCode::invalid_input, "tokenizer: Metaspace with an empty replacement");
  }

  void apply(Pieces& pieces) const override {
    for (Piece& piece : pieces.list) {
      std::string text;
      for (const char c : piece.text) {
        if (c == ' ') {
          text += replacement_;
        } else {
          text += c;
        }
      }
      const bool prepend = scheme_ == "always" || (scheme_ == "first" && piece.at_start);
      if (prepend && !text.starts_with(replacement_)) text.insert(0, replacement_);
      piece.text = pieces.keep(std::move(text));
    }
    if (!split_) return;
    std::vector<RegexMatch> matches;
    for_each_piece(pieces, [&](const Piece& piece, std::vector<Piece>& out) {
      matches.clear();
      for (size_t at = piece.text.find(replacement_); at != std::string_view::npos;
           at = piece.text.find(replacement_, at + replacement_.size())) {
        matches.push_back({at, at + replacement_.size()});
      }
      split_piece(piece, matches, SplitBehavior::merged_with_next, false, out);
    });
  }

 private:
  std::string replacement_;
  std::string scheme_;
  bool split_;
};

class PreTokenizerSequence : public PreTokenizer {
 public:
  PreTokenizerSequence(const Json& config, bool defer_mapping) {
    const Json& parts = get_member(config, "pretokenizers");
    if (!parts.is_array()) fail(ErrorCode::invalid_input, "tokenizer: \"pretokenizers\" is not a list");
    for (size_t i = 0; i < parts.size(); ++i) {
      parts_.push_back(make_pre_tokenizer(parts[i], defer_mapping && i + 1 == parts.size()));
    }
  }

  void apply(Pieces& pieces) const override {
    for (const auto& part : parts_) part->apply(pieces);
  }
  bool maps_bytes() const override { return !parts_.empty() && parts_.back()->maps_bytes(); }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> parts_;
};

}  // namespace

void split_piece(const Piece& piece, const std::vector<RegexMatch>& matches, SplitBehavior behavior,
                 bool invert, std::vector<Piece>& out) {
  // Parts in order, each a separator or not; adjacent ones may be joined before they are emitted.
  size_t begin = 0, end = 0;    // the part not yet emitted
  bool open_separator = false;  // it ends (merged_with_previous) or begins with a separator
  const auto emit = [&] {
    if (end > begin) out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
    begin = end;
  };
  const auto part = [&](size_t part_begin, size_t part_end, bool is_separator) {
    if (part_begin == part_end) return;
    const bool separator = is_separator != invert;
    bool join = false;
    switch (behavior) {
      case SplitBehavior::removed:
      case SplitBehavior::isolated:
        break;
      case SplitBehavior::merged_with_previous:
        join = separator && !open_separator && end > begin;
        break;
      case SplitBehavior::merged_with_next:
        join = open_separator && !separator;
        break;
      case SplitBehavior::contiguous:
        join = end > begin && separator == open_separator;
        break;
    }
    if (!join) {
      emit();
      begin = part_begin;
    }
    end = part_end;
    if (behavior == SplitBehavior::removed && separator) begin = end;
    open_separator = separator;
  };
  size_t done = 0;
  for (const RegexMatch& match : matches) {
    const size_t match_begin = std::max(match.begin, done);
    part(done, match_begin, false);
    part(match_begin, match.end, true);
    done = match.end;
  }
  part(done, piece.text.size(), false);
  emit();
}

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& config, bool defer_mapping) {
  const std::string type = get_string(config, "type");
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(config, defer_mapping);
  if (type == "Digits") return std::make_unique<Digits>(config);
  if (type == "Punctuation") return std::make_unique<Punctuation>(config);
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "Split") return std::make_unique<Split>(config);
  if (type == "Metaspace") return std::make_unique<Metaspace>(config);
  if (type == "Sequence") return std::make_unique<PreTokenizerSequence>(config, defer_mapping);
  fail(ErrorCode::unsupported, "tokenizer: pre_tokenizer \"{}\"", type);
}

}  // namespace lathe::text
