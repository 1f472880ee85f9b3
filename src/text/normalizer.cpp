#include "text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "base/error.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return uint8_t(c) < 0x80; });
}

// NFC, NFD, NFKC, NFKD.
class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(int options) : options_(utf8proc_option_t(options | UTF8PROC_STABLE)) {}

  void apply(std::string& text) const override {
    if (is_ascii(text)) return;
    utf8proc_uint8_t* normal = nullptr;
    const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                               utf8proc_ssize_t(text.size()), &normal, options_);
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(normal, &std::free);
    if (size < 0) fail(ErrorCode::resource, "unicode normalization: {}", utf8proc_errmsg(size));
    text.assign(reinterpret_cast<const char*>(normal), size_t(size));
  }

 private:
  utf8proc_option_t options_;
};

class Lowercase : public Normalizer {
 public:
  void apply(std::string& text) const override {
    std::string lower;
    lower.reserve(text.size());
    for (size_t at = 0; at < text.size();) {
      const uint32_t c = take_code_point(text, at);
      append_utf8(lower, uint32_t(utf8proc_tolower(utf8proc_int32_t(c))));
      // the one character whose lower case is two (SpecialCasing.txt)
      if (c == 0x130) {
        lower.resize(lower.size() - 1);
        lower += "i\xCC\x87";
      }
    }
    text = std::move(lower);
  }
};

class ReplaceNormalizer : public Normalizer {
 public:
  explicit ReplaceNormalizer(const Json& config)
      : pattern_(get_member(config, "pattern")), content_(get_string(config, "content")) {}

  void apply(std::string& text) const override { text = pattern_.replace(text, content_); }

 private:
  Pattern pattern_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const Json& config) : prefix_(get_string(config, "prepend")) {}

  void apply(std::string& text) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

// SentencePiece's way, which tokenizer.json has no word for: the space is in front of the text, not of each token.
class PrependToText : public Prepend {
 public:
  using Prepend::Prepend;
  void apply_to_token(std::string&) const override {}
};

class StripNormalizer : public Normalizer {
 public:
  explicit StripNormalizer(const Json& config)
      : left_(find_bool(config, "strip_left").value_or(true)),
        right_(find_bool(config, "strip_right").value_or(true)) {}

  void apply(std::string& text) const override {
    size_t begin = 0, end = text.size();
    for (size_t at = 0; left_ && begin < end; begin = at) {
      if (!is_whitespace(take_code_point(text, at))) break;
    }
    while (right_ && end > begin) {
      size_t at = previous_character(text, end);
      const size_t start = at;
      if (!is_whitespace(take_code_point(text, at))) break;
      end = start;
    }
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_, right_;
};

class ByteLevelNormalizer : public Normalizer {
 public:
  void apply(std::string& text) const override {
    std::string mapped;
    append_byte_level(mapped, text);
    text = std::move(mapped);
  }
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(const Json& config) {
    for (const Json& part : get_member(config, "normalizers")) parts_.push_back(make_normalizer(part));
  }

  void apply(std::string& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }
  void apply_to_token(std::string& content) const override {
    for (const auto& part : parts_) part->apply_to_token(content);
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer(const Json& config) {
  const std::string type = get_string(config, "type");
  if (type == "NFC") return std::make_unique<UnicodeForm>(UTF8PROC_COMPOSE);
  if (type == "NFD") return std::make_unique<UnicodeForm>(UTF8PROC_DECOMPOSE);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(UTF8PROC_COMPOSE | UTF8PROC_COMPAT);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Replace") return std::make_unique<ReplaceNormalizer>(config);
  if (type == "Prepend") return std::make_unique<Prepend>(config);
  if (type == "PrependToText") return std::make_unique<PrependToText>(config);
  if (type == "Strip") return std::make_unique<StripNormalizer>(config);
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Sequence") return std::make_unique<NormalizerSequence>(config);
  fail(ErrorCode::unsupported, "tokenizer: normalizer \"{}\"", type);
}

}  // namespace lathe::text
