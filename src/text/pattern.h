// What Split and Replace look for: {"String": "..."} or {"Regex": "..."}.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/regex.h"

namespace lathe::text {

class Pattern {
 public:
  // From the member "pattern" of a component. Throws invalid_input, unsupported.
  explicit Pattern(const Json& pattern);

  // Appends the matches in `text` (valid UTF-8), from left to right. An empty string matches nowhere.
  void find(std::string_view text, std::vector<RegexMatch>& matches) const;
  // `text` with every match replaced.
  std::string replace(std::string_view text, std::string_view replacement) const;

 private:
  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace lathe::text
