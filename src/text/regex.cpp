#define PCRE2_CODE_UNIT_WIDTH 8

#include "text/regex.h"

#include <pcre2.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "text/utf8.h"

namespace lathe::text {
namespace {

constexpr size_t kMaxPatternBytes = 1 << 16;
constexpr uint32_t kMatchLimit = 50'000'000;  // PCRE2's measure of steps in one match
constexpr size_t kJitStackBytes = 8 << 20;    // grows on demand

// Long names of general categories, which PCRE2 does not know.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kCategoryNames = {{
    {"Letter", "L"},
    {"Mark", "M"},
    {"Number", "N"},
    {"Punctuation", "P"},
    {"Symbol", "S"},
    {"Separator", "Z"},
    {"Other", "C"},
    {"Letter_Number", "Nl"},
}};
// What these mean in Oniguruma, written so that it can stand inside a set.
constexpr std::string_view kWordSet = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kPosixSets = {{
    {"[:alpha:]", "\\p{Alphabetic}"},
    {"[:alnum:]", "\\p{Alphabetic}\\p{Nd}"},
    {"[:word:]", kWordSet},
    {"[:space:]", "\\p{White_Space}"},
}};

// Walks an Oniguruma pattern once and writes PCRE2's.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        start_atom();
        escape();
      } else if (c == '[') {
        start_atom();
        set();
      } else if (c == '(') {
        open_groups_.push_back(out_.size());
        copy();
      } else if (c == ')') {
        if (!open_groups_.empty()) {
          atom_ = open_groups_.back();
          open_groups_.pop_back();
        }
        copy();
      } else if (c == '{') {
        interval();
      } else if (c == '*' || c == '+' || c == '?') {
        copy();
      } else {
        start_atom();
        copy();
      }
    }
    return std::move(out_);
  }

 private:
  void start_atom() { atom_ = out_.size(); }
  void copy() { out_ += in_[at_++]; }
  bool rest_starts(std::string_view text) const { return in_.substr(at_).starts_with(text); }

  // \x outside a set.
  void escape() {
    const char kind = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    if (kind == 'w' || kind == 'W') {
      out_ += kind == 'w' ? "[" : "[^";
      out_ += kWordSet;
      out_ += ']';
      at_ += 2;
    } else if (kind == 'h' || kind == 'H') {
      out_ += kind == 'h' ? "[0-9a-fA-F]" : "[^0-9a-fA-F]";
      at_ += 2;
    } else {
      common_escape(kind);
    }
  }

  // Escapes that are the same inside and outside a set.
  void common_escape(char kind) {
    if (kind == 's' || kind == 'S') {
      // PCRE2's \s has U+180E too
      out_ += kind == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      at_ += 2;
    } else if (kind == 'p' || kind == 'P') {
      property(kind);
    } else {
      copy();
      if (at_ < in_.size()) copy();
    }
  }

  // \p{Name}: scripts are "the script is", which PCRE2 spells sc:Name; a bare name would mean the extensions.
  void property(char kind) {
    const size_t close = in_.find('}', at_);
    if (!in_.substr(at_ + 2).starts_with('{') || close == std::string_view::npos) {
      out_ += in_.substr(at_, 2);
      at_ += 2;
      return;
    }
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    out_ += '\\';
    out_ += kind;
    out_ += negated ? "{^" : "{";
    bool category = name.size() <= 2 || name == "Any";
    for (const auto& [long_name, short_name] : kCategoryNames) {
      if (name == long_name) {
        name = short_name;
        category = true;
      }
    }
    const bool boolean = name == "Alphabetic" || name == "White_Space" || name == "Emoji" ||
                         name == "Uppercase" || name == "Lowercase";
    if (!category && !boolean) out_ += "sc:";
    out_ += name;
    out_ += '}';
    at_ = close + 1;
  }

  void set() {
    copy();
    if (rest_starts("^")) copy();
    if (rest_starts("]")) copy();
    while (at_ < in_.size() && in_[at_] != ']') {
      if (rest_starts("&&")) fail(ErrorCode::unsupported, "regular expression \"{}\": set intersection", in_);
      if (rest_starts("[:")) {
        posix();
      } else if (in_[at_] == '[') {
        fail(ErrorCode::unsupported, "regular expression \"{}\": set inside a set", in_);
      } else if (in_[at_] == '\\') {
        set_escape();
      } else {
        copy();
      }
    }
    if (at_ < in_.size()) copy();
  }

  void set_escape() {
    const char kind = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    if (kind == 'w' || kind == 'h') {
      out_ += kind == 'w' ? kWordSet : "0-9a-fA-F";
      at_ += 2;
    } else if (kind == 'W' || kind == 'H') {
      fail(ErrorCode::unsupported, "regular expression \"{}\": \\{} inside a set", in_, kind);
    } else {
      common_escape(kind);
    }
  }

  void posix() {
    for (const auto& [name, replacement] : kPosixSets) {
      if (rest_starts(name)) {
        out_ += replacement;
        at_ += name.size();
        return;
      }
    }
    const size_t close = in_.find(":]", at_);
    if (close == std::string_view::npos) return copy();
    out_ += in_.substr(at_, close + 2 - at_);
    at_ = close + 2;
  }

  // X{n,m}+ repeats the repetition in Ruby; in PCRE2 it would be possessive.
  void interval() {
    const size_t close = in_.find('}', at_);
    const bool digits =
        close != std::string_view::npos && close > at_ + 1 &&
        in_.substr(at_ + 1, close - at_ - 1).find_first_not_of("0123456789,") == std::string_view::npos;
    if (!digits) {
      start_atom();
      return copy();
    }
    out_ += in_.substr(at_, close + 1 - at_);
    at_ = close + 1;
    if (rest_starts("+")) {
      out_.insert(atom_, "(?:");
      out_ += ')';
      // the "+" itself is copied by run()
    }
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;  // where in out_ the last atom began
  std::vector<size_t> open_groups_;
};

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(code, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

struct Regex::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

struct RegexMatcher::Scratch {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
  ~Scratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

std::string translate_oniguruma(std::string_view pattern) {
  return Translator(pattern).run();
}

Regex::Regex(std::string_view pattern) : compiled_(std::make_unique<Compiled>()) {
  if (pattern.size() > kMaxPatternBytes) {
    fail(ErrorCode::invalid_input, "regular expression of {} bytes, at most {} are allowed", pattern.size(),
         kMaxPatternBytes);
  }
  const std::string translated = translate_oniguruma(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's ^ and $ match at every line
  compiled_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                  &offset, nullptr);
  if (!compiled_->code) {
    fail(ErrorCode::invalid_input, "regular expression \"{}\": {} at byte {}", pattern, error_text(error),
         offset);
  }
  // Where the processor has no JIT, PCRE2 interprets the pattern: slower, same result.
  pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

RegexMatcher::RegexMatcher(const Regex& regex)
    : regex_(regex.compiled()), scratch_(std::make_unique<Scratch>()) {
  scratch_->data = pcre2_match_data_create(1, nullptr);
  scratch_->context = pcre2_match_context_create(nullptr);
  if (!scratch_->data || !scratch_->context) fail(ErrorCode::resource, "no memory for a regular expression");
  pcre2_set_match_limit(scratch_->context, kMatchLimit);
}

RegexMatcher::~RegexMatcher() = default;

void RegexMatcher::start(std::string_view text) {
  text_ = text;
  position_ = 0;
  last_end_ = size_t(-1);
}

int RegexMatcher::match_at(size_t position) {
  const auto match = [&] {
    return pcre2_match(regex_.code, reinterpret_cast<PCRE2_SPTR>(text_.data()), text_.size(), position,
                       PCRE2_NO_UTF_CHECK, scratch_->data, scratch_->context);
  };
  int count = match();
  if (count == PCRE2_ERROR_JIT_STACKLIMIT && !scratch_->stack) {
    // 32 KiB of the thread's stack were not enough: rare, so the large one is made only then
    scratch_->stack = pcre2_jit_stack_create(256 << 10, kJitStackBytes, nullptr);
    if (!scratch_->stack) fail(ErrorCode::resource, "no memory for a regular expression");
    pcre2_jit_stack_assign(scratch_->context, nullptr, scratch_->stack);
    count = match();
  }
  if (count < 0 && count != PCRE2_ERROR_NOMATCH) {
    fail(ErrorCode::resource, "regular expression: {}", error_text(count));
  }
  return count;
}

bool RegexMatcher::next(RegexMatch& match) {
  while (position_ <= text_.size()) {
    if (match_at(position_) == PCRE2_ERROR_NOMATCH) return false;
    const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(scratch_->data);
    // \K inside a look-ahead can put the start behind the end
    match = {std::min(offsets[0], offsets[1]), offsets[1]};
    const bool repeated_empty = match.begin == match.end && match.end == last_end_;
    if (match.begin == match.end || match.end < position_) {
      // go on behind the next character, or the same empty match would be found for ever
      size_t after = std::max<size_t>(match.end, position_);
      if (after < text_.size()) {
        take_code_point(text_, after);
      } else {
        ++after;
      }
      position_ = after;
    } else {
      position_ = match.end;
    }
    if (repeated_empty) continue;
    last_end_ = match.end;
    return true;
  }
  return false;
}

}  // namespace lathe::text
