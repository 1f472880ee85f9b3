#include "text/pattern.h"

#include "base/error.h"

namespace lathe::text {

Pattern::Pattern(const Json& pattern) {
  if (pattern.is_string()) {
    literal_ = pattern.get<std::string>();
  } else if (const std::optional<std::string> text = find_string(pattern, "String")) {
    literal_ = *text;
  } else {
    regex_.emplace(get_string(pattern, "Regex"));
  }
}

void Pattern::find(std::string_view text, std::vector<RegexMatch>& matches) const {
  if (regex_) {
    RegexMatcher matcher(*regex_);
    matcher.start(text);
    RegexMatch match;
    while (matcher.next(match)) matches.push_back(match);
    return;
  }
  if (literal_.empty()) return;
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    matches.push_back({at, at + literal_.size()});
  }
}

std::string Pattern::replace(std::string_view text, std::string_view replacement) const {
  std::vector<RegexMatch> matches;
  find(text, matches);
  std::string out;
  size_t done = 0;
  for (const RegexMatch& match : matches) {
    out += text.substr(done, match.begin - done);
    out += replacement;
    done = match.end;
  }
  out += text.substr(done);
  return out;
}

}  // namespace lathe::text
