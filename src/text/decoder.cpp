#include "text/decoder.h"

#include <charconv>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

// A stage that must see a token whole: collects its parts.
class WholeTokenStage : public TokenSink {
 public:
  explicit WholeTokenStage(TokenSink& next) : next_(next) {}

  void text(std::string_view part) override { token_ += part; }
  void end_token() override {
    token(token_);
    token_.clear();
  }
  void finish() override { next_.finish(); }

 protected:
  virtual void token(std::string_view token) = 0;
  void emit(std::string_view token) {
    next_.text(token);
    next_.end_token();
  }

  TokenSink& next_;

 private:
  std::string token_;
};

// Makes stages of one class, which is constructed from (const Config&, next).
template <class Stage, class Config>
class StageDecoder : public Decoder {
 public:
  explicit StageDecoder(Config config) : config_(std::move(config)) {}
  std::unique_ptr<TokenSink> begin(TokenSink& next) const override {
    return std::make_unique<Stage>(config_, next);
  }

 private:
  Config config_;
};

struct NoConfig {};

// All tokens become bytes, and these one text; what is not UTF-8 in it becomes U+FFFD.
class ByteLevelStage : public WholeTokenStage {
 public:
  ByteLevelStage(const NoConfig&, TokenSink& next) : WholeTokenStage(next) {}

  void finish() override {
    flush(false);
    next_.end_token();
    next_.finish();
  }

 protected:
  void token(std::string_view token) override {
    append_byte_level_decoded(bytes_, token);
    flush(true);
  }

 private:
  void flush(bool keep_incomplete) {
    std::string out;
    bytes_.erase(0, append_lossy(out, bytes_, keep_incomplete));
    if (!out.empty()) next_.text(out);
  }
  std::string bytes_;  // not more than an incomplete character between calls
};

// Runs of <0xNN> tokens become the text of these bytes, or one U+FFFD for each if they are not UTF-8.
class ByteFallbackStage : public WholeTokenStage {
 public:
  ByteFallbackStage(const NoConfig&, TokenSink& next) : WholeTokenStage(next) {}

  void finish() override {
    flush();
    next_.finish();
  }

 protected:
  void token(std::string_view token) override {
    uint8_t byte = 0;
    if (is_byte(token, byte)) {
      run_ += char(byte);
      return;
    }
    flush();
    emit(token);
  }

 private:
  static bool is_byte(std::string_view token, uint8_t& byte) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return false;
    const char* end = token.data() + 5;
    const char* begin = token.data() + (token[3] == '+' ? 4 : 3);  // a sign is a number to the reference, too
    const auto [after, error] = std::from_chars(begin, end, byte, 16);
    return error == std::errc() && after == end;
  }

  void flush() {
    if (run_.empty()) return;
    if (valid_utf8_prefix(run_) == run_.size()) {
      emit(run_);
    } else {
      for (size_t i = 0; i < run_.size(); ++i) emit(kReplacement);
    }
    run_.clear();
  }
  std::string run_;
};

// All tokens become one.
class FuseStage : public TokenSink {
 public:
  FuseStage(const NoConfig&, TokenSink& next) : next_(next) {}
  void text(std::string_view part) override { next_.text(part); }
  void end_token() override {}
  void finish() override {
    next_.end_token();
    next_.finish();
  }

 private:
  TokenSink& next_;
};

struct StripConfig {
  std::string content;  // one character
  size_t start = 0, stop = 0;
};

// Takes up to `start` characters from the start of each token, and up to `stop` from its end.
class StripStage : public TokenSink {
 public:
  StripStage(const StripConfig& config, TokenSink& next) : config_(config), next_(next) {}

  void text(std::string_view part) override {
    while (at_start_ && removed_ < config_.start && part.starts_with(config_.content)) {
      part.remove_prefix(config_.content.size());
      ++removed_;
    }
    if (part.empty()) return;
    at_start_ = false;
    // hold back the run of content at the end: it may be the token's end
    size_t end = part.size();
    size_t run = 0;
    while (config_.stop > 0 && part.substr(0, end).ends_with(config_.content)) {
      end -= config_.content.size();
      ++run;
    }
    if (end > 0) {
      release(held_);
      held_ = 0;
      next_.text(part.substr(0, end));
    }
    held_ += run;
    if (held_ > config_.stop) {
      release(held_ - config_.stop);
      held_ = config_.stop;
    }
  }
  void end_token() override {
    held_ = 0;
    at_start_ = true;
    removed_ = 0;
    next_.end_token();
  }
  void finish() override { next_.finish(); }

 private:
  void release(size_t count) {
    for (size_t i = 0; i < count; ++i) next_.text(config_.content);
  }

  const StripConfig& config_;
  TokenSink& next_;
  bool at_start_ = true;
  size_t removed_ = 0;
  size_t held_ = 0;  // characters of content that came last and are not passed on yet
};

struct ReplaceConfig {
  Pattern pattern;
  std::string content;
};

class ReplaceStage : public WholeTokenStage {
 public:
  ReplaceStage(const ReplaceConfig& config, TokenSink& next) : WholeTokenStage(next), config_(config) {}

 protected:
  void token(std::string_view token) override { emit(config_.pattern.replace(token, config_.content)); }

 private:
  const ReplaceConfig& config_;
};

struct MetaspaceConfig {
  std::string replacement;
  bool drop_first;  // the visible space in front of the text was put there by the encoder
};

class MetaspaceStage : public WholeTokenStage {
 public:
  MetaspaceStage(const MetaspaceConfig& config, TokenSink& next) : WholeTokenStage(next), config_(config) {}

 protected:
  void token(std::string_view token) override {
    const bool drop = first_ && config_.drop_first;
    first_ = false;
    std::string out;
    for (size_t at = 0; at < token.size();) {
      if (token.substr(at).starts_with(config_.replacement)) {
        if (!drop) out += ' ';
        at += config_.replacement.size();
      } else {
        out += token[at++];
      }
    }
    emit(out);
  }

 private:
  const MetaspaceConfig& config_;
  bool first_ = true;
};

// The suffix that ends a word becomes a space, at the end of the text nothing.
class BpeSuffixStage : public WholeTokenStage {
 public:
  BpeSuffixStage(const std::string& suffix, TokenSink& next) : WholeTokenStage(next), suffix_(suffix) {}

  void finish() override {
    if (waiting_) emit(replaced(""));
    next_.finish();
  }

 protected:
  // one token behind, because the last one is treated differently
  void token(std::string_view token) override {
    if (waiting_) emit(replaced(" "));
    last_ = token;
    waiting_ = true;
  }

 private:
  std::string replaced(std::string_view by) const {
    std::string out;
    size_t done = 0;
    for (size_t at = last_.find(suffix_); !suffix_.empty() && at != std::string::npos;
         at = last_.find(suffix_, done)) {
      out.append(last_, done, at - done).append(by);
      done = at + suffix_.size();
    }
    return out.append(last_, done);
  }

  const std::string& suffix_;
  std::string last_;
  bool waiting_ = false;
};

// Stages one behind the other, in one object.
class ChainStage : public TokenSink {
 public:
  ChainStage(const std::vector<std::unique_ptr<const Decoder>>& parts, TokenSink& next) {
    TokenSink* following = &next;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
      stages_.push_back((*part)->begin(*following));
      following = stages_.back().get();
    }
    first_ = following;
  }
  void text(std::string_view part) override { first_->text(part); }
  void end_token() override { first_->end_token(); }
  void finish() override { first_->finish(); }

 private:
  std::vector<std::unique_ptr<TokenSink>> stages_;
  TokenSink* first_;
};

class DecoderSequence : public Decoder {
 public:
  explicit DecoderSequence(const Json& config) {
    for (const Json& part : get_member(config, "decoders")) parts_.push_back(make_decoder(part));
  }
  std::unique_ptr<TokenSink> begin(TokenSink& next) const override {
    return std::make_unique<ChainStage>(parts_, next);
  }

 private:
  std::vector<std::unique_ptr<const Decoder>> parts_;
};

// Without a decoder: a space between tokens.
class SpaceStage : public WholeTokenStage {
 public:
  SpaceStage(const NoConfig&, TokenSink& next) : WholeTokenStage(next) {}

 protected:
  void token(std::string_view token) override {
    if (!first_) next_.text(" ");
    first_ = false;
    emit(token);
  }

 private:
  bool first_ = true;
};

size_t count_from(const Json& config, std::string_view key) {
  const int64_t count = find_int(config, key).value_or(0);
  if (count < 0 || count > 1 << 20) fail(ErrorCode::invalid_input, "decoder: \"{}\" is {}", key, count);
  return size_t(count);
}

}  // namespace

std::unique_ptr<const Decoder> make_decoder(const Json& config) {
  if (config.is_null()) return std::make_unique<StageDecoder<SpaceStage, NoConfig>>(NoConfig{});
  const std::string type = get_string(config, "type");
  if (type == "ByteLevel") return std::make_unique<StageDecoder<ByteLevelStage, NoConfig>>(NoConfig{});
  if (type == "ByteFallback") return std::make_unique<StageDecoder<ByteFallbackStage, NoConfig>>(NoConfig{});
  if (type == "Fuse") return std::make_unique<StageDecoder<FuseStage, NoConfig>>(NoConfig{});
  if (type == "Replace") {
    ReplaceConfig replace{Pattern(get_member(config, "pattern")), get_string(config, "content")};
    return std::make_unique<StageDecoder<ReplaceStage, ReplaceConfig>>(std::move(replace));
  }
  if (type == "Strip") {
    StripConfig strip{get_string(config, "content"), count_from(config, "start"), count_from(config, "stop")};
    if (strip.content.empty() || next_utf8(strip.content).size != strip.content.size()) {
      fail(ErrorCode::invalid_input, "decoder: Strip of \"{}\", expected one character", strip.content);
    }
    return std::make_unique<StageDecoder<StripStage, StripConfig>>(std::move(strip));
  }
  if (type == "Metaspace") {
    MetaspaceConfig metaspace{find_string(config, "replacement").value_or("\xE2\x96\x81"), true};
    metaspace.drop_first =
        find_string(config, "prepend_scheme")
            .value_or(find_bool(config, "add_prefix_space").value_or(true) ? "always" : "never") != "never";
    if (metaspace.replacement.empty())
      fail(ErrorCode::invalid_input, "decoder: Metaspace with an empty replacement");
    return std::make_unique<StageDecoder<MetaspaceStage, MetaspaceConfig>>(std::move(metaspace));
  }
  if (type == "BPEDecoder") {
    return std::make_unique<StageDecoder<BpeSuffixStage, std::string>>(
        find_string(config, "suffix").value_or("</w>"));
  }
  if (type == "Sequence") return std::make_unique<DecoderSequence>(config);
  fail(ErrorCode::unsupported, "tokenizer: decoder \"{}\"", type);
}

}  // namespace lathe::text
