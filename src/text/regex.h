// Regular expressions of tokenizer.json: Oniguruma's (Ruby) syntax, run by PCRE2 with JIT.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace lathe::text {

// The pattern in PCRE2's syntax: \s \w \d \h, POSIX brackets, script names and `{n,m}+` mean other things
// there. Throws unsupported for what has no counterpart (set intersection, nested sets).
std::string translate_oniguruma(std::string_view pattern);

// A compiled pattern. Immutable, may be used by many threads at once, each with its own Matcher.
class Regex {
 public:
  struct Compiled;  // PCRE2's code

  // Throws invalid_input for a pattern that does not compile.
  explicit Regex(std::string_view oniguruma_pattern);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  const Compiled& compiled() const { return *compiled_; }

 private:
  std::unique_ptr<Compiled> compiled_;
};

struct RegexMatch {
  size_t begin = 0, end = 0;  // bytes
};

// Finds the matches of one pattern in one text after another, from left to right, without overlaps. The
// pattern and the current text must outlive the matcher. For one thread.
class RegexMatcher {
 public:
  explicit RegexMatcher(const Regex& regex);
  ~RegexMatcher();
  RegexMatcher(const RegexMatcher&) = delete;
  RegexMatcher& operator=(const RegexMatcher&) = delete;

  // Begins with `text`, which must be valid UTF-8.
  void start(std::string_view text);
  // False when there is no further match. Throws resource when matching needs too many steps or too much
  // stack.
  bool next(RegexMatch& match);

 private:
  int match_at(size_t position);

  const Regex::Compiled& regex_;
  std::string_view text_;
  size_t position_ = 0;
  size_t last_end_ = size_t(-1);  // an empty match is not accepted where the last match ended
  struct Scratch;
  std::unique_ptr<Scratch> scratch_;
};

}  // namespace lathe::text
